// Package credential makes the token credential that an option names, for the
// Azure services that are reached without a connection string.
package credential

import (
	"fmt"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// Loader makes a credential. It is called once, at start.
type Loader = func() (azcore.TokenCredential, error)

// Load makes the credential of that name: "default", "managed_identity",
// "workload_identity", "azure_cli", "environment", or one of own, which override
// those. No token is asked for yet, but a variable that is missing from the
// environment is an error now. The caller adds the option's name to it.
//
// In production, name the credential: "default" tries one after the other, and
// waits for a managed identity that may not be there.
// https://learn.microsoft.com/azure/developer/go/sdk/authentication/credential-chains
func Load(name string, own map[string]Loader) (azcore.TokenCredential, error) {
	load, found := own[name]
	if !found {
		load, found = loaders()[name]
	}
	if !found {
		return nil, fmt.Errorf("credential: there is no loader %q", name)
	}
	c, err := load()
	if err != nil {
		return nil, fmt.Errorf("credential: %s: %w", name, err)
	}
	if c == nil {
		return nil, fmt.Errorf("credential: the loader %s returned none", name)
	}
	return c, nil
}

func loaders() map[string]Loader {
	return map[string]Loader{
		"default":           func() (azcore.TokenCredential, error) { return made(azidentity.NewDefaultAzureCredential(nil)) },
		"managed_identity":  func() (azcore.TokenCredential, error) { return made(managedIdentity()) },
		"workload_identity": func() (azcore.TokenCredential, error) { return made(azidentity.NewWorkloadIdentityCredential(nil)) },
		"azure_cli":         func() (azcore.TokenCredential, error) { return made(azidentity.NewAzureCLICredential(nil)) },
		"environment":       func() (azcore.TokenCredential, error) { return made(azidentity.NewEnvironmentCredential(nil)) },
	}
}

// managedIdentity is the user-assigned identity that AZURE_CLIENT_ID names, as in
// "default"; if that is not set, it is the system-assigned one.
func managedIdentity() (*azidentity.ManagedIdentityCredential, error) {
	var o azidentity.ManagedIdentityCredentialOptions
	if id := os.Getenv("AZURE_CLIENT_ID"); id != "" {
		o.ID = azidentity.ClientID(id)
	}
	return azidentity.NewManagedIdentityCredential(&o)
}

// made keeps a nil pointer from becoming a credential that is not nil.
func made[C azcore.TokenCredential](c C, err error) (azcore.TokenCredential, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}
