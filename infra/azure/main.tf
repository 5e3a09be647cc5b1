resource "azurerm_resource_group" "this" {
  name     = var.name
  location = var.location
}

locals {
  # Names of storage accounts have no hyphens and at most 24 characters.
  plain_name = replace(var.name, "-", "")

  apps = toset(var.worker ? ["api", "worker"] : ["api"])

  # TASKGATE_TASKS: one backend for each target.
  service_bus = {
    SERVICEBUS_USE_CONNECTION_STRING = false
    SERVICEBUS_NAMESPACE_FQDN        = "${azurerm_servicebus_namespace.this.name}.servicebus.windows.net"
    SERVICEBUS_CREDENTIAL_LOADER     = "managed_identity"
  }
  tasks = {
    default = {
      BACKEND = "taskgate.ServiceBusQueueBackend"
      QUEUES  = [azurerm_servicebus_queue.tasks.name]
      OPTIONS = merge(local.service_bus, { SERVICEBUS_DEFAULT_QUEUE_NAME = azurerm_servicebus_queue.tasks.name })
    }
    topic = {
      BACKEND = "taskgate.ServiceBusTopicBackend"
      QUEUES  = [azurerm_servicebus_topic.tasks.name]
      OPTIONS = merge(local.service_bus, { SERVICEBUS_DEFAULT_TOPIC_NAME = azurerm_servicebus_topic.tasks.name })
    }
    storage = {
      BACKEND = "taskgate.StorageAccountQueueBackend"
      QUEUES  = [azurerm_storage_queue.tasks["tasks"].name]
      OPTIONS = {
        STORAGE_ACCOUNT_USE_CONNECTION_STRING    = false
        STORAGE_ACCOUNT_URL                      = trimsuffix(azurerm_storage_account.tasks.primary_queue_endpoint, "/")
        STORAGE_ACCOUNT_CREDENTIAL_LOADER        = "managed_identity"
        STORAGE_ACCOUNT_QUEUE_DEFAULT_QUEUE_NAME = azurerm_storage_queue.tasks["tasks"].name
      }
    }
  }

  # What each app is told. No secret is among the names that this file makes up.
  settings = {
    api = {
      TASKGATE_TASKS                    = jsonencode(local.tasks)
      TASKGATE_AUTH                     = "keys"
      TASKGATE_API_KEYS                 = var.api_keys
      TASKGATE_TOKEN_SECRETS            = var.token_secrets
      TASKGATE_COSMOS_ENDPOINT          = azurerm_cosmosdb_account.this.endpoint
      TASKGATE_COSMOS_CREDENTIAL_LOADER = "managed_identity"
      TASKGATE_COSMOS_DATABASE          = azurerm_cosmosdb_sql_database.this.name
      TASKGATE_COSMOS_CONTAINER         = azurerm_cosmosdb_sql_container.tasks.name
    }
    worker = {
      TASKGATE_EVENTS_BASE                      = "https://${var.name}-api.azurewebsites.net"
      WorkerServiceBus__fullyQualifiedNamespace = local.service_bus.SERVICEBUS_NAMESPACE_FQDN
      WorkerServiceBus__credential              = "managedidentity"
      WorkerStorage__queueServiceUri            = trimsuffix(azurerm_storage_account.tasks.primary_queue_endpoint, "/")
      WorkerStorage__credential                 = "managedidentity"
      SERVICEBUS_QUEUE_NAME                     = azurerm_servicebus_queue.tasks.name
      SERVICEBUS_TOPIC_NAME                     = azurerm_servicebus_topic.tasks.name
      SERVICEBUS_SUBSCRIPTION_NAME              = azurerm_servicebus_subscription.worker.name
      STORAGE_QUEUE_NAME                        = azurerm_storage_queue.tasks["tasks"].name
    }
  }
}

# What the Functions hosts keep for themselves, and the packages that they run.
resource "azurerm_storage_account" "host" {
  name                            = "${local.plain_name}host"
  resource_group_name             = azurerm_resource_group.this.name
  location                        = azurerm_resource_group.this.location
  account_tier                    = "Standard"
  account_replication_type        = "LRS"
  shared_access_key_enabled       = false
  default_to_oauth_authentication = true
}

resource "azurerm_storage_container" "packages" {
  for_each = local.apps

  name                  = each.key
  storage_account_id    = azurerm_storage_account.host.id
  container_access_type = "private"
}

# Flex Consumption takes one app a plan.
resource "azurerm_service_plan" "this" {
  for_each = local.apps

  name                = "${var.name}-${each.key}"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  os_type             = "Linux"
  sku_name            = "FC1"
}

resource "azurerm_function_app_flex_consumption" "this" {
  for_each = local.apps

  name                = "${var.name}-${each.key}"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  service_plan_id     = azurerm_service_plan.this[each.key].id
  https_only          = true

  runtime_name           = "custom"
  runtime_version        = "1.0"
  instance_memory_in_mb  = 2048
  maximum_instance_count = 40

  storage_container_type      = "blobContainer"
  storage_container_endpoint  = "${azurerm_storage_account.host.primary_blob_endpoint}${azurerm_storage_container.packages[each.key].name}"
  storage_authentication_type = "SystemAssignedIdentity"

  webdeploy_publish_basic_authentication_enabled = false

  identity {
    type = "SystemAssigned"
  }

  site_config {
    application_insights_connection_string = azurerm_application_insights.this.connection_string
    minimum_tls_version                    = "1.2"
    http2_enabled                          = true
  }

  app_settings = merge(local.settings[each.key], {
    AzureWebJobsStorage__accountName = azurerm_storage_account.host.name
    AzureWebJobsStorage__credential  = "managedidentity"
  })
}
