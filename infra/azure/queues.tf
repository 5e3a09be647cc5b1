# A task id is the MessageID: a send that is repeated within the window, because
# its answer was lost, is one message. A message is given up on after ten
# deliveries, which functions/azure-worker reports from the dead-letter subqueue.
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

# The one subscription that reports. Others observe.
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

# The host moves what it gives up on to the poison queue; made here, it needs no
# right to make queues.
resource "azurerm_storage_queue" "tasks" {
  for_each = toset(["tasks", "tasks-poison"])

  name               = each.key
  storage_account_id = azurerm_storage_account.tasks.id
}
