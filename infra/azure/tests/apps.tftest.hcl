# What Terraform would set in Azure, for everything that can be asked for. `make
# azure-check` runs this with a mocked provider, so nothing here talks to Azure.
mock_provider "azurerm" {
  mock_resource "azurerm_storage_account" {
    defaults = {
      primary_blob_endpoint  = "https://account.blob.core.windows.net/"
      primary_queue_endpoint = "https://account.queue.core.windows.net/"
    }
  }
}

variables {
  subscription_id = "00000000-0000-0000-0000-000000000000"
  name            = "shop-tasks"
  api_keys        = "shop:enqueue+read:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
  token_secrets   = "0123456789abcdef0123456789abcdef"
  worker          = true
  operators       = ["11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"]
}

run "apps" {
  # The provider is mocked, so this applies to nothing, and makes every value known.
  command = apply

  assert {
    condition = alltrue([
      for app, function in azurerm_function_app_flex_consumption.this : function.storage_authentication_type == "SystemAssignedIdentity" &&
      function.app_settings["AzureWebJobsStorage"] == "" && function.app_settings["DEPLOYMENT_STORAGE_CONNECTION_STRING"] == "" &&
      function.app_settings["AzureWebJobsStorage__accountName"] == azurerm_storage_account.host[app].name &&
      function.app_settings["AzureWebJobsStorage__credential"] == "managedidentity"
    ])
    error_message = "azurerm would add a connection string without a key, and the app would not start."
  }

  assert {
    condition     = length(distinct([for app, account in azurerm_storage_account.host : account.name])) == 2 && azurerm_storage_account.host["api"].name != azurerm_storage_account.tasks.name
    error_message = "The apps share a storage account."
  }

  assert {
    condition = alltrue([
      for app, assignment in azurerm_role_assignment.host : assignment.scope == azurerm_storage_account.host[app].id &&
      assignment.principal_id == azurerm_function_app_flex_consumption.this[app].identity[0].principal_id
    ]) && azurerm_storage_account.host["api"].id != azurerm_storage_account.host["worker"].id
    error_message = "An app may write to another app's storage account."
  }

  assert {
    condition     = alltrue([for name in concat([for account in azurerm_storage_account.host : account.name], [azurerm_storage_account.tasks.name]) : can(regex("^[a-z0-9]{3,24}$", name))])
    error_message = "Azure refuses the name of a storage account."
  }

  assert {
    condition     = alltrue([for function in azurerm_function_app_flex_consumption.this : function.instance_memory_in_mb == 512])
    error_message = "An instance has more memory than it needs."
  }

  assert {
    condition     = azurerm_function_app_flex_consumption.this["api"].http_concurrency == 64
    error_message = "Requests that wait would fill an instance of the API."
  }

  assert {
    condition     = toset(keys(azurerm_monitor_diagnostic_setting.this)) == toset(["bus", "cosmos"])
    error_message = "Every message in a Storage queue is logged."
  }

  assert {
    condition     = toset([for log in azurerm_monitor_diagnostic_setting.this["bus"].enabled_log : log.category]) == toset(["OperationalLogs"])
    error_message = "Service Bus Standard does not have these logs."
  }

  assert {
    condition     = toset([for log in azurerm_monitor_diagnostic_setting.this["cosmos"].enabled_log : log.category]) == toset(["ControlPlaneRequests"])
    error_message = "Every request to Cosmos DB is logged."
  }

  assert {
    condition = alltrue([
      for id in var.operators : azurerm_cosmosdb_sql_role_assignment.operators[id].principal_id == id &&
      endswith(azurerm_cosmosdb_sql_role_assignment.operators[id].role_definition_id, "/00000000-0000-0000-0000-000000000001")
    ]) && length(azurerm_role_assignment.operators) == 4
    error_message = "The operators may not read the tasks."
  }
}
