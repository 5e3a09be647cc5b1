variable "subscription_id" {
  description = "The subscription to deploy to."
  type        = string
}

variable "name" {
  description = "What every resource's name begins with; some of these names are world-wide."
  type        = string
  default     = "taskgate"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,15}$", var.name))
    error_message = "It must have 3 to 16 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "location" {
  description = "A region that has Flex Consumption: az functionapp list-flexconsumption-locations."
  type        = string
  default     = "westeurope"
}

variable "api_keys" {
  description = "TASKGATE_API_KEYS: name:scope+scope:sha256hex, comma-separated; make key mints one."
  type        = string
}

variable "token_secrets" {
  description = "TASKGATE_TOKEN_SECRETS, comma-separated, 32 random bytes or more each: openssl rand -hex 32."
  type        = string
  sensitive   = true
}

variable "worker" {
  description = "Whether to make the example worker's app, too."
  type        = bool
  default     = false
}

variable "alert_email" {
  description = "Who is told of alerts; empty = they are raised and nobody is told."
  type        = string
  default     = ""
}
