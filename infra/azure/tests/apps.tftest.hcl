# What Terraform would set in Azure, for everything that can be asked for. `make
# azure-check` runs this with a mocked provider, so nothing here talks to Azure.
mock_provider "azurerm" {
  # azurerm parses these, so they must look like real ones.
  mock_resource "azurerm_resource_group" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g"
    }
  }
  mock_resource "azurerm_application_insights" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.Insights/components/i"
    }
  }
  mock_resource "azurerm_cosmosdb_account" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.DocumentDB/databaseAccounts/c"
    }
  }
  mock_resource "azurerm_cosmosdb_sql_role_definition" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.DocumentDB/databaseAccounts/c/sqlRoleDefinitions/33333333-3333-3333-3333-333333333333"
    }
  }
  mock_resource "azurerm_log_analytics_workspace" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/w"
    }
  }
  mock_resource "azurerm_monitor_action_group" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.Insights/actionGroups/a"
    }
  }
  mock_resource "azurerm_service_plan" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.Web/serverFarms/p"
    }
  }
  mock_resource "azurerm_servicebus_namespace" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.ServiceBus/namespaces/b"
    }
  }
  mock_resource "azurerm_servicebus_queue" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.ServiceBus/namespaces/b/queues/tasks"
    }
  }
  mock_resource "azurerm_servicebus_topic" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.ServiceBus/namespaces/b/topics/task-events"
    }
  }
  mock_resource "azurerm_servicebus_subscription" {
    defaults = {
      id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.ServiceBus/namespaces/b/topics/task-events/subscriptions/worker"
    }
  }
  mock_resource "azurerm_role_definition" {
    defaults = {
      role_definition_resource_id = "/subscriptions/00000000-0000-0000-0000-000000000000/providers/Microsoft.Authorization/roleDefinitions/44444444-4444-4444-4444-444444444444"
    }
  }
}

override_resource {
  target = azurerm_storage_account.host["api"]
  values = {
    id                     = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/api"
    primary_blob_endpoint  = "https://api.blob.core.windows.net/"
    primary_queue_endpoint = "https://api.queue.core.windows.net/"
  }
}

override_resource {
  target = azurerm_storage_account.host["worker"]
  values = {
    id                     = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/worker"
    primary_blob_endpoint  = "https://worker.blob.core.windows.net/"
    primary_queue_endpoint = "https://worker.queue.core.windows.net/"
  }
}

override_resource {
  target = azurerm_storage_account.tasks
  values = {
    id                     = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/tasks"
    primary_blob_endpoint  = "https://tasks.blob.core.windows.net/"
    primary_queue_endpoint = "https://tasks.queue.core.windows.net/"
  }
}

override_resource {
  target = azurerm_function_app_flex_consumption.this["api"]
  values = {
    identity = {
      principal_id = "55555555-5555-5555-5555-555555555555"
    }
  }
}

override_resource {
  target = azurerm_function_app_flex_consumption.this["worker"]
  values = {
    identity = {
      principal_id = "66666666-6666-6666-6666-666666666666"
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
      lookup(function.app_settings, "AzureWebJobsStorage", null) == "" && lookup(function.app_settings, "DEPLOYMENT_STORAGE_CONNECTION_STRING", null) == "" &&
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
