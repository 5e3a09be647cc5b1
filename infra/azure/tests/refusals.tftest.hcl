# Values that must be refused at plan. `make azure-check` runs this with a mocked
# provider, so nothing here talks to Azure.
mock_provider "azurerm" {}

variables {
  subscription_id = "00000000-0000-0000-0000-000000000000"
  api_keys        = "shop:enqueue+read:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
  token_secrets   = "0123456789abcdef0123456789abcdef"
}

run "accepts_good_values" {
  command = plan
}

run "accepts_several_secrets_and_keys" {
  command = plan
  variables {
    api_keys      = "shop:enqueue+read:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08,ops:admin:9F86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a09"
    token_secrets = "0123456789abcdef0123456789abcdef,fedcba9876543210fedcba9876543210"
    alert_email   = "ops@example.com"
  }
}

run "accepts_a_key_vault_reference" {
  command = plan
  variables {
    token_secrets = "@Microsoft.KeyVault(SecretUri=https://vault.vault.azure.net/secrets/taskgate)"
  }
}

run "refuses_no_api_keys" {
  command = plan
  variables {
    api_keys = ""
  }
  expect_failures = [var.api_keys]
}

run "refuses_the_placeholder_of_the_documentation" {
  command = plan
  variables {
    api_keys = "shop:enqueue+read:<sha256>"
  }
  expect_failures = [var.api_keys]
}

run "refuses_an_unknown_scope" {
  command = plan
  variables {
    api_keys = "shop:write:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
  }
  expect_failures = [var.api_keys]
}

run "refuses_no_token_secrets" {
  command = plan
  variables {
    token_secrets = ""
  }
  expect_failures = [var.token_secrets]
}

run "refuses_a_short_token_secret" {
  command = plan
  variables {
    token_secrets = "0123456789abcdef0123456789abcdef,short"
  }
  expect_failures = [var.token_secrets]
}

run "refuses_an_unclosed_key_vault_reference" {
  command = plan
  variables {
    token_secrets = "@Microsoft.KeyVault(SecretUri=https://vault.vault.azure.net/secrets/taskgate"
  }
  expect_failures = [var.token_secrets]
}

run "refuses_a_subscription_that_is_no_uuid" {
  command = plan
  variables {
    subscription_id = "my subscription"
  }
  expect_failures = [var.subscription_id]
}

run "refuses_a_name_that_ends_with_a_hyphen" {
  command = plan
  variables {
    name = "taskgate-"
  }
  expect_failures = [var.name]
}

run "refuses_a_name_that_is_too_long" {
  command = plan
  variables {
    name = "taskgate-of-the-shop"
  }
  expect_failures = [var.name]
}

run "refuses_a_region_by_its_display_name" {
  command = plan
  variables {
    location = "West Europe"
  }
  expect_failures = [var.location]
}

run "refuses_an_operator_by_name" {
  command = plan
  variables {
    operators = ["ann@example.com"]
  }
  expect_failures = [var.operators]
}

run "refuses_an_alert_address_that_is_none" {
  command = plan
  variables {
    alert_email = "ops"
  }
  expect_failures = [var.alert_email]
}
