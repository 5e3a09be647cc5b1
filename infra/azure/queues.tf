# The MessageID is the task's id, so a send that is repeated within the window is one
# message. After ten deliveries a message goes to the dead-letter subqueue, and
# functions/azure-worker reports it from there.
locals {
  lock             = "PT1M"
  max_deliveries   = 10
  duplicate_window = "PT1H"
}

resource "azurerm_servicebus_namespace" "this" {
  name                = "${var.name}-bus"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  sku                 = "Standard" # Basic has no topics, and no duplicate detection
  local_auth_enabled  = false
  minimum_tls_version = "1.2"
}

resource "azurerm_servicebus_queue" "tasks" {
  name         = "tasks"
  namespace_id = azurerm_servicebus_namespace.this.id

  requires_duplicate_detection            = true
  duplicate_detection_history_time_window = local.duplicate_window
  dead_lettering_on_message_expiration    = true
  lock_duration                           = local.lock
  max_delivery_count                      = local.max_deliveries
}

resource "azurerm_servicebus_topic" "tasks" {
  name         = "task-events"
  namespace_id = azurerm_servicebus_namespace.this.id

  requires_duplicate_detection            = true
  duplicate_detection_history_time_window = local.duplicate_window
}

# This subscription reports to the API. Others only observe.
resource "azurerm_servicebus_subscription" "worker" {
  name     = "worker"
  topic_id = azurerm_servicebus_topic.tasks.id

  dead_lettering_on_message_expiration = true
  lock_duration                        = local.lock
  max_delivery_count                   = local.max_deliveries
}

resource "azurerm_storage_account" "tasks" {
  name                            = "${local.plain_name}tasks"
  resource_group_name             = azurerm_resource_group.this.name
  location                        = azurerm_resource_group.this.location
  account_tier                    = "Standard"
  account_replication_type        = "ZRS"
  shared_access_key_enabled       = false
  default_to_oauth_authentication = true
}

# The host moves messages that failed too often to the poison queue. Terraform makes
# that queue, so the host needs no permission to make one.
resource "azurerm_storage_queue" "tasks" {
  for_each = toset(["tasks", "tasks-poison"])

  name               = each.key
  storage_account_id = azurerm_storage_account.tasks.id
}
