output "app" {
  description = "The API's function app, for make deploy-azure."
  value       = azurerm_function_app_flex_consumption.this["api"].name
}

output "worker_app" {
  description = "The example worker's function app, empty without one."
  value       = var.worker ? azurerm_function_app_flex_consumption.this["worker"].name : ""
}

output "url" {
  description = "Where clients reach the API."
  value       = "https://${azurerm_function_app_flex_consumption.this["api"].default_hostname}"
}
