package credential_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/taskgate/taskgate/adapters/azure/credential"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
)

func TestBuiltInLoadersMakeACredential(t *testing.T) {
	t.Setenv("AZURE_TENANT_ID", "00000000-0000-0000-0000-000000000001")
	t.Setenv("AZURE_CLIENT_ID", "00000000-0000-0000-0000-000000000002")
	t.Setenv("AZURE_CLIENT_SECRET", "secret")
	t.Setenv("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/token")
	for _, name := range []string{"default", "managed_identity", "workload_identity", "azure_cli", "environment"} {
		if c, err := credential.Load(name, nil); err != nil || c == nil {
			t.Errorf("%q: %v, %v", name, c, err)
		}
	}
}

func TestMissingEnvironmentIsAnErrorAtStart(t *testing.T) {
	for _, name := range []string{"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"} {
		t.Setenv(name, "")
	}
	for _, name := range []string{"environment", "workload_identity"} {
		c, err := credential.Load(name, nil)
		if err == nil || c != nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
}

func TestOwnLoadersOverrideBuiltInOnes(t *testing.T) {
	own := map[string]credential.Loader{
		"vault":   func() (azcore.TokenCredential, error) { return azureemu.Credential{}, nil },
		"default": func() (azcore.TokenCredential, error) { return azureemu.Credential{}, nil },
		"broken":  func() (azcore.TokenCredential, error) { return nil, errors.New("no vault") },
		"none":    func() (azcore.TokenCredential, error) { return nil, nil },
	}
	for _, name := range []string{"vault", "default"} {
		if c, err := credential.Load(name, own); err != nil || c != (azureemu.Credential{}) {
			t.Errorf("%q: %v, %v", name, c, err)
		}
	}
	for name, want := range map[string]string{"broken": "no vault", "none": "none", "Vault": "no loader"} {
		if c, err := credential.Load(name, own); err == nil || c != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", name, c, err)
		}
	}
}
