resource "azurerm_resource_group" "this" {
  name     = var.name
  location = var.location
}

locals {
  # The name of a storage account has no hyphens and at most 24 characters.
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

  # Each request that waits for a task takes one of an instance's places while it
  # waits, and costs little, so an instance of the API takes many. The worker has no
  # HTTP function.
  http_concurrency = { api = 64, worker = null }

  # The settings of each app.
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

# Each app's package, and what its Functions host stores for itself: leases and
# keys. Who may write to such an account decides what its app runs, so each app has
# its own.
resource "azurerm_storage_account" "host" {
  for_each = local.apps

  name                            = "${local.plain_name}${each.key}"
  resource_group_name             = azurerm_resource_group.this.name
  location                        = azurerm_resource_group.this.location
  account_tier                    = "Standard"
  account_replication_type        = "LRS"
  shared_access_key_enabled       = false
  default_to_oauth_authentication = true
  allow_nested_items_to_be_public = false
}

resource "azurerm_storage_container" "packages" {
  for_each = local.apps

  name                  = "packages"
  storage_account_id    = azurerm_storage_account.host[each.key].id
  container_access_type = "private"
}

# A Flex Consumption plan takes one app.
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
  instance_memory_in_mb  = 512
  maximum_instance_count = 40
  http_concurrency       = local.http_concurrency[each.key]

  storage_container_type      = "blobContainer"
  storage_container_endpoint  = "${azurerm_storage_account.host[each.key].primary_blob_endpoint}${azurerm_storage_container.packages[each.key].name}"
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

  # The host signs in to its storage account with its identity. azurerm would set the
  # first two to a connection string without a key, which the host prefers, and the app
  # would not start. Settings from here win over azurerm's. azurerm never reads the two
  # back, so each plan shows them as a change until the provider is fixed:
  # https://github.com/hashicorp/terraform-provider-azurerm/issues/29149, 29693, 30732
  app_settings = merge(local.settings[each.key], {
    AzureWebJobsStorage                  = ""
    DEPLOYMENT_STORAGE_CONNECTION_STRING = ""
    AzureWebJobsStorage__accountName     = azurerm_storage_account.host[each.key].name
    AzureWebJobsStorage__credential      = "managedidentity"
  })
}
