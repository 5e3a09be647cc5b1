# With Strong consistency a look-up sees every write that was answered. A request
# cannot ask for a stronger consistency than the account's.
# https://learn.microsoft.com/azure/cosmos-db/consistency-levels
resource "azurerm_cosmosdb_account" "this" {
  name                         = "${var.name}-cosmos"
  resource_group_name          = azurerm_resource_group.this.name
  location                     = azurerm_resource_group.this.location
  offer_type                   = "Standard"
  kind                         = "GlobalDocumentDB"
  local_authentication_enabled = false
  minimal_tls_version          = "Tls12"

  consistency_policy {
    consistency_level = "Strong"
  }

  geo_location {
    location          = azurerm_resource_group.this.location
    failover_priority = 0
  }

  # Paid by the request; nothing is always on.
  capabilities {
    name = "EnableServerless"
  }

  backup {
    type = "Continuous"
    tier = "Continuous7Days"
  }
}

resource "azurerm_cosmosdb_sql_database" "this" {
  name                = "taskgate"
  resource_group_name = azurerm_resource_group.this.name
  account_name        = azurerm_cosmosdb_account.this.name
}

# A test compares this with cosmosstore.Container.
resource "azurerm_cosmosdb_sql_container" "tasks" {
  name                  = "tasks"
  resource_group_name   = azurerm_resource_group.this.name
  account_name          = azurerm_cosmosdb_account.this.name
  database_name         = azurerm_cosmosdb_sql_database.this.name
  partition_key_paths   = ["/pk"]
  partition_key_version = 2
  default_ttl           = -1 # each item has its own

  indexing_policy {
    indexing_mode = "consistent"

    included_path {
      path = "/pk/?"
    }

    included_path {
      path = "/enqueued_at/?"
    }

    included_path {
      path = "/owner/?"
    }

    included_path {
      path = "/status/?"
    }

    included_path {
      path = "/queue_name/?"
    }

    included_path {
      path = "/backend/?"
    }

    included_path {
      path = "/task_name/?"
    }

    excluded_path {
      path = "/*"
    }

    composite_index {
      index {
        path  = "/enqueued_at"
        order = "Descending"
      }
      index {
        path  = "/id"
        order = "Descending"
      }
    }
  }
}
