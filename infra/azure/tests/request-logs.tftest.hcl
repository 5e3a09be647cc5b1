# The logs that request_logs turns on, without operators and without the worker.
mock_provider "azurerm" {}

variables {
  subscription_id = "00000000-0000-0000-0000-000000000000"
  api_keys        = "shop:enqueue+read:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
  token_secrets   = "0123456789abcdef0123456789abcdef"
  request_logs    = true
}

run "request_logs" {
  command = plan

  assert {
    condition     = toset([for log in azurerm_monitor_diagnostic_setting.this["cosmos"].enabled_log : log.category]) == toset(["ControlPlaneRequests", "DataPlaneRequests"])
    error_message = "request_logs does not turn on the requests to Cosmos DB."
  }

  assert {
    condition     = toset([for log in azurerm_monitor_diagnostic_setting.this["queues"].enabled_log : log.category]) == toset(["StorageDelete", "StorageWrite"])
    error_message = "request_logs does not turn on the requests to the Storage queues."
  }

  assert {
    condition     = length(azurerm_role_assignment.operators) == 0 && length(azurerm_function_app_flex_consumption.this) == 1
    error_message = "Nobody asked for operators or for the worker."
  }
}
