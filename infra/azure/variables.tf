variable "subscription_id" {
  description = "The subscription to deploy to, as a UUID."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", var.subscription_id))
    error_message = "subscription_id must be a UUID: az account show --query id"
  }
}

variable "name" {
  description = "The beginning of every resource's name. Some of these names must be unique in the world."
  type        = string
  default     = "taskgate"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.name)) && length(var.name) >= 3 && length(var.name) <= 16
    error_message = "name must have 3 to 16 lower-case letters and digits, with single hyphens between them, and begin with a letter."
  }
}

variable "location" {
  description = "A region that has Flex Consumption: az functionapp list-flexconsumption-locations."
  type        = string
  default     = "westeurope"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+[a-z0-9]*$", var.location))
    error_message = "location must be a region's short name, such as westeurope."
  }
}

variable "api_keys" {
  description = "TASKGATE_API_KEYS: name:scope+scope:sha256hex entries, separated by commas. make key prints an entry."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9._@-]{1,64}:(enqueue|read|work|admin)(\\+(enqueue|read|work|admin))*:[0-9A-Fa-f]{64}(,[A-Za-z0-9._@-]{1,64}:(enqueue|read|work|admin)(\\+(enqueue|read|work|admin))*:[0-9A-Fa-f]{64})*$", var.api_keys))
    error_message = "api_keys must be name:scope+scope:sha256hex entries, separated by commas, with 64 hex digits each. make key prints an entry."
  }
}

variable "token_secrets" {
  description = "TASKGATE_TOKEN_SECRETS: secrets of at least 32 characters, separated by commas; the first signs. openssl rand -hex 32 makes one. Or one Key Vault reference."
  type        = string
  sensitive   = true
  nullable    = false

  validation {
    condition     = can(regex("^([^\\s,:{}$<>()@]{32,}(,[^\\s,:{}$<>()@]{32,})*|@Microsoft\\.KeyVault\\([^()<>]+\\))$", var.token_secrets))
    error_message = "token_secrets must be secrets of at least 32 characters without white space or any of : { } $ < > ( ) @, separated by commas, or one @Microsoft.KeyVault(…) reference."
  }
}

variable "worker" {
  description = "Whether to make the example worker's app, too."
  type        = bool
  default     = false
  nullable    = false
}

variable "operators" {
  description = "Object ids of the people or groups in Entra ID who may look tasks up in Cosmos DB and in the Storage queues."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.operators : can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", id))])
    error_message = "operators must be object ids (UUIDs), not names: az ad signed-in-user show --query id"
  }
}

variable "request_logs" {
  description = "Whether to log each request to Cosmos DB and the Storage queues, which can cost more than the requests. Turn it on to look for a fault."
  type        = bool
  default     = false
  nullable    = false
}

variable "alert_email" {
  description = "The e-mail address that gets alerts. Empty: alerts are raised and nobody is told."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(|[^\\s@<>]+@[^\\s@<>]+)$", var.alert_email))
    error_message = "alert_email must be one e-mail address, or empty."
  }
}
