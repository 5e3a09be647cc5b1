resource "azurerm_log_analytics_workspace" "this" {
  name                = "${var.name}-logs"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  sku                 = "PerGB2018"
  retention_in_days   = 30
}

resource "azurerm_application_insights" "this" {
  name                = "${var.name}-insights"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  application_type    = "other"
  workspace_id        = azurerm_log_analytics_workspace.this.id
}

# What the apps cannot log themselves, in categories that the SKUs have: only Service
# Bus Premium has RuntimeAuditLogs. Logging each request can cost more than the
# requests, so request_logs is off by default.
# https://learn.microsoft.com/azure/azure-monitor/reference/supported-logs/logs-index
resource "azurerm_monitor_diagnostic_setting" "this" {
  for_each = merge({
    bus = {
      id          = azurerm_servicebus_namespace.this.id
      logs        = ["OperationalLogs"]
      destination = "Dedicated"
    }
    cosmos = {
      id          = azurerm_cosmosdb_account.this.id
      logs        = concat(["ControlPlaneRequests"], var.request_logs ? ["DataPlaneRequests"] : [])
      destination = "Dedicated"
    }
    }, var.request_logs ? {
    queues = {
      id          = "${azurerm_storage_account.tasks.id}/queueServices/default"
      logs        = ["StorageDelete", "StorageWrite"]
      destination = null # a storage service has only one
    }
  } : {})

  name                           = "logs"
  target_resource_id             = each.value.id
  log_analytics_workspace_id     = azurerm_log_analytics_workspace.this.id
  log_analytics_destination_type = each.value.destination

  dynamic "enabled_log" {
    for_each = each.value.logs
    content {
      category = enabled_log.value
    }
  }
}

resource "azurerm_monitor_action_group" "this" {
  name                = "${var.name}-alerts"
  resource_group_name = azurerm_resource_group.this.name
  short_name          = "taskgate"

  dynamic "email_receiver" {
    for_each = compact([var.alert_email])
    content {
      name                    = "email"
      email_address           = email_receiver.value
      use_common_alert_schema = true
    }
  }
}

resource "azurerm_monitor_metric_alert" "this" {
  for_each = {
    dead-letters = {
      description = "Messages are in a dead-letter subqueue. The worker has not reported them, or cannot read them."
      scope       = azurerm_servicebus_namespace.this.id
      namespace   = "Microsoft.ServiceBus/namespaces"
      metric      = "DeadletteredMessages"
      aggregation = "Average"
      threshold   = 0
      dimension   = "EntityName"
      values      = ["*"]
    }
    bus-throttled = {
      description = "Service Bus throttles the API. Enqueueing gets 503 answers."
      scope       = azurerm_servicebus_namespace.this.id
      namespace   = "Microsoft.ServiceBus/namespaces"
      metric      = "ThrottledRequests"
      aggregation = "Total"
      threshold   = 0
      dimension   = "EntityName"
      values      = ["*"]
    }
    store-throttled = {
      description = "Cosmos DB throttles the API. Requests get 503 answers."
      scope       = azurerm_cosmosdb_account.this.id
      namespace   = "Microsoft.DocumentDB/databaseAccounts"
      metric      = "TotalRequests"
      aggregation = "Count"
      threshold   = 10
      dimension   = "StatusCode"
      values      = ["429"]
    }
  }

  name                = "${var.name}-${each.key}"
  resource_group_name = azurerm_resource_group.this.name
  description         = each.value.description
  scopes              = [each.value.scope]
  severity            = 2
  frequency           = "PT5M"
  window_size         = "PT15M"

  criteria {
    metric_namespace = each.value.namespace
    metric_name      = each.value.metric
    aggregation      = each.value.aggregation
    operator         = "GreaterThan"
    threshold        = each.value.threshold

    dimension {
      name     = each.value.dimension
      operator = "Include"
      values   = each.value.values
    }
  }

  action {
    action_group_id = azurerm_monitor_action_group.this.id
  }
}

# Both apps log JSON lines to stdout, which the host writes to AppTraces.
resource "azurerm_monitor_scheduled_query_rules_alert_v2" "this" {
  for_each = {
    failing = {
      description = "The API gave more 5xx answers than a passing fault causes."
      query       = "AppTraces | where Message has '\"msg\":\"request\"' and Message has '\"level\":\"ERROR\"'"
      threshold   = 10
    }
    gave-up = {
      description = "A queue gave up on tasks, which are FAILED now, or a worker cannot read its messages."
      query       = "AppTraces | where Message has_any ('task dead-lettered', 'message refused', 'invocation refused')"
      threshold   = 0
    }
    not-starting = {
      description = "An app does not start. Its settings are wrong, or it crashes."
      query       = "AppTraces | where Message has 'taskgate' and Message has 'the settings are wrong' or Message has 'Exceeded language worker restart retry count'"
      threshold   = 0
    }
  }

  name                  = "${var.name}-${each.key}"
  resource_group_name   = azurerm_resource_group.this.name
  location              = azurerm_resource_group.this.location
  description           = each.value.description
  scopes                = [azurerm_log_analytics_workspace.this.id]
  severity              = 2
  evaluation_frequency  = "PT5M"
  window_duration       = "PT15M"
  skip_query_validation = true # a table exists only after its first log line

  criteria {
    query                   = each.value.query
    time_aggregation_method = "Count"
    operator                = "GreaterThan"
    threshold               = each.value.threshold
  }

  action {
    action_groups = [azurerm_monitor_action_group.this.id]
  }
}
