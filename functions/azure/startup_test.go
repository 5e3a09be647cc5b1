package main_test

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/tests/emulators/azureemu"
)

// offline is a whole configuration that nothing answers to, with a port that is
// taken: a start that should fail must not succeed.
func offline(t *testing.T) map[string]string {
	t.Helper()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	c := azureemu.ServiceBusConnectionString("127.0.0.1:1")
	return map[string]string{
		"FUNCTIONS_CUSTOMHANDLER_PORT":      port,
		"TASKGATE_TASKS":                    `{"default":{"BACKEND":"ServiceBusQueueBackend","OPTIONS":{"SERVICEBUS_CONNECTION_STRING":"` + c + `"}}}`,
		"TASKGATE_API_KEYS":                 apiKey("alice", "enqueue+read"),
		"TASKGATE_TOKEN_SECRETS":            strings.Repeat("s", 32),
		"TASKGATE_COSMOS_CONNECTION_STRING": azureemu.CosmosConnectionString("http://127.0.0.1:1"),
		"WEBSITE_HOSTNAME":                  "app.azurewebsites.net",
	}
}

// refuses starts the API, which must fail, and returns what it says.
func refuses(t *testing.T, settings map[string]string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience) // if it starts after all
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(staged, "azure", "taskgate"))
	cmd.Env = []string{}
	for name, value := range settings {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 { // the host restarts after it, and counts
		t.Errorf("it ended with %v: %s", err, out)
	}
	return string(out)
}

func TestACredentialThatCannotBeMadeIsReportedByItsOption(t *testing.T) {
	bus := func(options string) string {
		return `{"default":{"BACKEND":"ServiceBusQueueBackend","OPTIONS":{"SERVICEBUS_USE_CONNECTION_STRING":false,` + options + `}}}`
	}
	storage := func(options string) string {
		return `{"default":{"BACKEND":"StorageAccountQueueBackend","OPTIONS":{` + options + `}}}`
	}
	for name, c := range map[string]struct {
		settings []string
		want     []string
	}{
		"an environment that lacks it, for Service Bus": {
			[]string{"TASKGATE_TASKS", bus(`"SERVICEBUS_NAMESPACE_FQDN":"n.servicebus.windows.net","SERVICEBUS_CREDENTIAL_LOADER":"environment"`)},
			[]string{"SERVICEBUS_CREDENTIAL_LOADER", `backend "default"`, "AZURE_TENANT_ID"},
		},
		"for a Storage queue": {
			[]string{"TASKGATE_TASKS", storage(`"STORAGE_ACCOUNT_USE_CONNECTION_STRING":false,"STORAGE_ACCOUNT_URL":"https://a.queue.core.windows.net","STORAGE_ACCOUNT_CREDENTIAL_LOADER":"workload_identity"`)},
			[]string{"STORAGE_ACCOUNT_CREDENTIAL_LOADER", `backend "default"`},
		},
		"for Cosmos DB": {
			[]string{"TASKGATE_COSMOS_CONNECTION_STRING", "", "TASKGATE_COSMOS_ENDPOINT", "https://a.documents.azure.com", "TASKGATE_COSMOS_CREDENTIAL_LOADER", "environment"},
			[]string{"TASKGATE_COSMOS_CREDENTIAL_LOADER", "AZURE_TENANT_ID"},
		},
		"an unknown loader": {
			[]string{"TASKGATE_TASKS", bus(`"SERVICEBUS_NAMESPACE_FQDN":"n.servicebus.windows.net","SERVICEBUS_CREDENTIAL_LOADER":"managed-identity"`)},
			[]string{"SERVICEBUS_CREDENTIAL_LOADER", "managed_identity"},
		},
		"a key that is not base64, for a Storage queue": {
			[]string{"TASKGATE_TASKS", storage(`"STORAGE_ACCOUNT_CONNECTION_STRING":"AccountName=a;AccountKey=s%cr%t;EndpointSuffix=core.windows.net"`)},
			[]string{"STORAGE_ACCOUNT_CONNECTION_STRING", `backend "default"`},
		},
		"a key that is not base64, for Cosmos DB": {
			[]string{"TASKGATE_COSMOS_CONNECTION_STRING", "AccountEndpoint=https://a.documents.azure.com/;AccountKey=s%cr%t;"},
			[]string{"TASKGATE_COSMOS_CONNECTION_STRING"},
		},
		"several at once": {
			[]string{
				"TASKGATE_TASKS", bus(`"SERVICEBUS_NAMESPACE_FQDN":"n.servicebus.windows.net","SERVICEBUS_CREDENTIAL_LOADER":"environment"`),
				"TASKGATE_COSMOS_CONNECTION_STRING", "", "TASKGATE_COSMOS_ENDPOINT", "https://a.documents.azure.com", "TASKGATE_COSMOS_CREDENTIAL_LOADER", "workload_identity",
			},
			[]string{"SERVICEBUS_CREDENTIAL_LOADER", "TASKGATE_COSMOS_CREDENTIAL_LOADER"},
		},
	} {
		out := refuses(t, with(offline(t), c.settings...))
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not mentioned in: %s", name, want, out)
			}
		}
		if strings.Contains(out, "s%cr%t") {
			t.Errorf("%s: the secret is shown: %s", name, out)
		}
	}
}

func TestEveryMistakeInTheSettingsIsReportedAtOnce(t *testing.T) {
	out := refuses(t, map[string]string{
		"TASKGATE_TASKS":       `{"default":{"BACKEND":"SQSBackend"}}`,
		"TASKGATE_COSMS":       "x",
		"TASKGATE_RESULT_TTL":  "soon",
		"TASKGATE_API_KEYS":    "nobody",
		"TASKGATE_PUBLIC_URL":  "app",
		"TASKGATE_EVENTS_BASE": "http://x",
	})
	for _, want := range []string{
		"functions/aws", "TASKGATE_COSMS", "TASKGATE_RESULT_TTL", "TASKGATE_API_KEYS", "TASKGATE_PUBLIC_URL", "TASKGATE_EVENTS_BASE",
		"TASKGATE_TOKEN_SECRETS", "TASKGATE_COSMOS_CONNECTION_STRING is required", "FUNCTIONS_CUSTOMHANDLER_PORT",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not mentioned in: %s", want, out)
		}
	}
	if out := refuses(t, with(offline(t), "WEBSITE_HOSTNAME", "")); !strings.Contains(out, "TASKGATE_PUBLIC_URL is required") {
		t.Errorf("without an address: %s", out)
	}
	if out := refuses(t, offline(t)); !strings.Contains(out, "FUNCTIONS_CUSTOMHANDLER_PORT") {
		t.Errorf("a port that cannot be had: %s", out)
	}
}

func TestThePlatformIsTrustedOnlyWhereItIsSeenToAuthenticate(t *testing.T) {
	platform := with(offline(t), "TASKGATE_AUTH", "platform", "TASKGATE_API_KEYS", "", "FUNCTIONS_APP_ROOT_PATH", filepath.Join(staged, "azure"))
	for _, c := range [][]string{
		{"TASKGATE_PLATFORM_AUTH is required"},
		{`authLevel "anonymous"`, "TASKGATE_PLATFORM_AUTH", "function_keys"},
		{"WEBSITE_AUTH_ENABLED", "TASKGATE_PLATFORM_AUTH", "easy_auth"},
		{"WEBSITE_AUTH_ENABLED", "TASKGATE_PLATFORM_AUTH", "easy_auth", "WEBSITE_AUTH_ENABLED", "False"},
		{"easy_auth or function_keys", "TASKGATE_PLATFORM_AUTH", "easyauth"},
		{"TASKGATE_PLATFORM_AUTH is set", "TASKGATE_PLATFORM_AUTH", "easy_auth", "TASKGATE_AUTH", "keys", "TASKGATE_API_KEYS", apiKey("a", "read")},
	} {
		if out := refuses(t, with(platform, slices.Clone(c[1:])...)); !strings.Contains(out, c[0]) {
			t.Errorf("%q: %q is not mentioned in: %s", c[1:], c[0], out)
		}
	}
}
