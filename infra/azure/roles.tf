# Each app has its own identity, with the permissions that its code needs.
locals {
  identity = { for app, function in azurerm_function_app_flex_consumption.this : app => function.identity[0].principal_id }
}

# Each host: the leases, keys and package in its own account.
# https://learn.microsoft.com/azure/azure-functions/functions-reference#connecting-to-host-storage-with-an-identity
resource "azurerm_role_assignment" "host" {
  for_each = local.apps

  scope                = azurerm_storage_account.host[each.key].id
  role_definition_name = "Storage Blob Data Owner"
  principal_id         = local.identity[each.key]
  principal_type       = "ServicePrincipal"
}

# The API sends. The role includes scheduling a message and cancelling it.
resource "azurerm_role_assignment" "send" {
  for_each = {
    queue = azurerm_servicebus_queue.tasks.id
    topic = azurerm_servicebus_topic.tasks.id
  }

  scope                = each.value
  role_definition_name = "Azure Service Bus Data Sender"
  principal_id         = local.identity["api"]
  principal_type       = "ServicePrincipal"
}

# The API adds messages to the Storage queue, and deletes the messages of cancelled
# tasks by their pop receipts. No built-in role has these two permissions alone.
resource "azurerm_role_definition" "enqueue" {
  name        = "${var.name} enqueue and cancel"
  scope       = azurerm_resource_group.this.id
  description = "Add messages to a Storage queue, and delete them."

  permissions {
    data_actions = [
      "Microsoft.Storage/storageAccounts/queueServices/queues/messages/add/action",
      "Microsoft.Storage/storageAccounts/queueServices/queues/messages/delete",
    ]
  }
}

resource "azurerm_role_assignment" "enqueue" {
  scope              = "${azurerm_storage_account.tasks.id}/queueServices/default/queues/tasks"
  role_definition_id = azurerm_role_definition.enqueue.role_definition_resource_id
  principal_id       = local.identity["api"]
  principal_type     = "ServicePrincipal"
  depends_on         = [azurerm_storage_queue.tasks]
}

# The worker receives. For a topic, the role has to cover the subscription.
# https://learn.microsoft.com/azure/azure-functions/functions-bindings-service-bus-trigger#grant-permission-to-the-identity
resource "azurerm_role_assignment" "receive" {
  for_each = var.worker ? {
    queue        = azurerm_servicebus_queue.tasks.id
    subscription = azurerm_servicebus_subscription.worker.id
  } : {}

  scope                = each.value
  role_definition_name = "Azure Service Bus Data Receiver"
  principal_id         = local.identity["worker"]
  principal_type       = "ServicePrincipal"
}

# The worker takes messages out of both Storage queues, and puts those that failed
# too often into the poison queue.
resource "azurerm_role_assignment" "dequeue" {
  for_each = var.worker ? {
    for pair in setproduct(["tasks", "tasks-poison"], ["Storage Queue Data Reader", "Storage Queue Data Message Processor"]) :
    join("/", pair) => { queue = pair[0], role = pair[1] }
  } : {}

  scope                = "${azurerm_storage_account.tasks.id}/queueServices/default/queues/${each.value.queue}"
  role_definition_name = each.value.role
  principal_id         = local.identity["worker"]
  principal_type       = "ServicePrincipal"
  depends_on           = [azurerm_storage_queue.tasks]
}

resource "azurerm_role_assignment" "poison" {
  count = var.worker ? 1 : 0

  scope                = "${azurerm_storage_account.tasks.id}/queueServices/default/queues/tasks-poison"
  role_definition_name = "Storage Queue Data Message Sender"
  principal_id         = local.identity["worker"]
  principal_type       = "ServicePrincipal"
  depends_on           = [azurerm_storage_queue.tasks]
}

# Cosmos DB's data plane has its own roles.
# https://learn.microsoft.com/azure/cosmos-db/nosql/reference-data-plane-security
resource "azurerm_cosmosdb_sql_role_definition" "records" {
  name                = "taskgate"
  resource_group_name = azurerm_resource_group.this.name
  account_name        = azurerm_cosmosdb_account.this.name
  type                = "CustomRole"
  assignable_scopes   = [azurerm_cosmosdb_account.this.id]

  permissions {
    data_actions = [
      "Microsoft.DocumentDB/databaseAccounts/readMetadata",
      "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/executeQuery",
      "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/create",
      "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/read",
      "Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers/items/replace",
    ]
  }
}

resource "azurerm_cosmosdb_sql_role_assignment" "api" {
  resource_group_name = azurerm_resource_group.this.name
  account_name        = azurerm_cosmosdb_account.this.name
  role_definition_id  = azurerm_cosmosdb_sql_role_definition.records.id
  principal_id        = local.identity["api"]
  scope               = "${azurerm_cosmosdb_account.this.id}/dbs/${azurerm_cosmosdb_sql_database.this.name}/colls/${azurerm_cosmosdb_sql_container.tasks.name}"
}

# People who look tasks up: the data of Cosmos DB, as in the portal's Data Explorer,
# and the messages in the Storage queues. Being an owner of the subscription gives
# neither, since the accounts accept no keys. Reading Service Bus messages takes the
# role Azure Service Bus Data Receiver, which also lets its holder remove messages,
# so it is left for you to assign.
resource "azurerm_cosmosdb_sql_role_assignment" "operators" {
  for_each = var.operators

  resource_group_name = azurerm_resource_group.this.name
  account_name        = azurerm_cosmosdb_account.this.name
  role_definition_id  = "${azurerm_cosmosdb_account.this.id}/sqlRoleDefinitions/00000000-0000-0000-0000-000000000001" # Cosmos DB Built-in Data Reader
  principal_id        = each.value
  scope               = azurerm_cosmosdb_account.this.id
}

resource "azurerm_role_assignment" "operators" {
  for_each = {
    for pair in setproduct(var.operators, [
      { role = "Cosmos DB Account Reader Role", scope = azurerm_cosmosdb_account.this.id },
      { role = "Storage Queue Data Reader", scope = azurerm_storage_account.tasks.id },
    ]) : "${pair[0]}/${pair[1].role}" => { principal = pair[0], role = pair[1].role, scope = pair[1].scope }
  }

  scope                = each.value.scope
  role_definition_name = each.value.role
  principal_id         = each.value.principal
}
