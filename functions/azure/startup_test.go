package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/tests/emulators/azureemu"
	"github.com/taskgate/taskgate/tests/emulators/functionshost"
	"github.com/taskgate/taskgate/tests/wait"
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
	ctx, cancel := context.WithTimeout(t.Context(), wait.Patience) // if it starts after all
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

// tasks are the settings of one backend: options in turns of name and value.
func tasks(backend, queues string, options ...string) string {
	set := map[string]string{}
	for i := 0; i < len(options); i += 2 {
		set[options[i]] = options[i+1]
	}
	text, err := json.Marshal(map[string]any{"default": map[string]any{
		"BACKEND": backend, "QUEUES": strings.Fields(queues), "OPTIONS": set,
	}})
	if err != nil {
		panic(err)
	}
	return string(text)
}

const (
	busEndpoint = "Endpoint=sb://n.servicebus.windows.net/;"
	busKey      = busEndpoint + "SharedAccessKeyName=send;SharedAccessKey=a2V5"
	busToken    = busEndpoint + "SharedAccessSignature=SharedAccessSignature "
	account     = "AccountName=a;SharedAccessSignature="
	signature   = "sv=2024-11-04&ss=bfqt&srt=sco&sp=rwdlacup&se=2099-01-01T00:00:00Z&spr=https&sig=c2VjcmV0"
)

func TestSettingsThatCanNeverWorkAreRefusedAtStart(t *testing.T) {
	bus := func(connection, queues string) string {
		return tasks("ServiceBusQueueBackend", queues, "SERVICEBUS_CONNECTION_STRING", connection, "SERVICEBUS_DEFAULT_QUEUE_NAME", strings.Fields(queues)[0])
	}
	topic := func(connection, topics string) string {
		return tasks("ServiceBusTopicBackend", topics, "SERVICEBUS_CONNECTION_STRING", connection, "SERVICEBUS_DEFAULT_TOPIC_NAME", strings.Fields(topics)[0])
	}
	storage := func(connection, queues string) string {
		return tasks("StorageAccountQueueBackend", queues, "STORAGE_ACCOUNT_CONNECTION_STRING", connection, "STORAGE_ACCOUNT_QUEUE_DEFAULT_QUEUE_NAME", strings.Fields(queues)[0])
	}
	changed := func(old, now string) string { return account + strings.Replace(signature, old, now, 1) }
	const future, past = "4070908800", "1000000000"
	for name, c := range map[string]struct {
		tasks string
		want  string // "" = it starts
	}{
		"a key of the namespace":               {bus(busKey, "a b"), ""},
		"a key of the queue":                   {bus(busKey+";EntityPath=Emails", "emails"), ""},
		"a key of another queue":               {bus(busKey+";EntityPath=other", "emails"), `"emails" in backend "default" must be other`},
		"a key of one of two queues":           {bus(busKey+";entitypath=a", "a b"), `"b" in backend "default" must be a`},
		"a key of another topic":               {topic(busKey+";EntityPath=other", "events"), `"events" in backend "default" must be other`},
		"a token of the namespace":             {bus(busToken+"sr=sb%3a%2f%2fn.servicebus.windows.net%2f&sig=x&se="+future+"&skn=send", "a b"), ""},
		"a token without a scheme":             {bus(busToken+"sr=n.servicebus.windows.net&sig=x&se="+future+"&skn=send", "a b"), ""},
		"a token of another queue":             {bus(busToken+"sr=https%3a%2f%2fn.servicebus.windows.net%2fother&sig=x&se="+future+"&skn=send", "a"), "must be other"},
		"a token of another namespace":         {bus(busToken+"sr=https%3a%2f%2fm.servicebus.windows.net&sig=x&se="+future+"&skn=send", "a"), "for another namespace"},
		"an expired token":                     {bus(busToken+"sr=n.servicebus.windows.net&sig=x&se="+past+"&skn=send", "a"), "expired at 2001-09-09"},
		"a token without an expiry":            {bus(busToken+"sr=n.servicebus.windows.net&sig=x&skn=send", "a"), "no expiry"},
		"the address of the token service":     {bus(busKey, "$cbs"), `"$cbs" in backend "default" must begin and end`},
		"the address of dead letters":          {bus(busKey, "a x/$deadletterqueue"), `"x/$deadletterqueue" in backend "default" must`},
		"the address of a subscription":        {topic(busKey, "a/Subscriptions/b"), "subscription"},
		"a signature":                          {storage(account+signature, "abc"), ""},
		"a signature with its question mark":   {storage(account+"?"+signature, "abc"), ""},
		"a signature of a stored policy":       {storage(changed("&ss=bfqt&srt=sco&sp=rwdlacup&se=2099-01-01T00:00:00Z", "&si=policy"), "abc"), ""},
		"a signature of one queue":             {storage(changed("&ss=bfqt&srt=sco&sp=rwdlacup", "&sp=a"), "abc"), ""},
		"an expired signature":                 {storage(changed("2099", "2019"), "abc"), "expired at 2019-01-01"},
		"a signature to read":                  {storage(changed("rwdlacup", "rl"), "abc"), "sp=a"},
		"a signature without permissions":      {storage(changed("&sp=rwdlacup", ""), "abc"), "sp=a"},
		"a signature for blobs":                {storage(changed("ss=bfqt", "ss=b"), "abc"), "not for queues"},
		"a signature of one blob":              {storage(changed("&ss=bfqt&srt=sco", "&sr=b"), "abc"), "not for queues"},
		"a signature for whole services":       {storage(changed("srt=sco", "srt=sc"), "abc"), "srt=o"},
		"a signature without its signature":    {storage(changed("&sig=c2VjcmV0", ""), "abc"), "sig"},
		"a signature for HTTPS over HTTP":      {storage("DefaultEndpointsProtocol=http;"+account+signature, "abc"), "HTTPS"},
		"the endpoint of blobs":                {storage("QueueEndpoint=https://a.blob.core.windows.net/;AccountName=a;AccountKey=a2V5", "abc"), "blob service"},
		"the endpoint of a queue":              {storage("QueueEndpoint=https://a.queue.core.windows.net/abc;AccountName=a;AccountKey=a2V5", "abc"), "without the name of a queue"},
		"a path before the account":            {storage("QueueEndpoint=http://azurite:10001/a;AccountName=a;AccountKey=a2V5", "abc"), ""},
		"a queue in capitals":                  {storage("AccountName=a;AccountKey=a2V5", "Emails"), `"Emails" in backend "default" must be lower-case`},
		"a second queue with a path":           {storage("AccountName=a;AccountKey=a2V5", "abc q-1/messages"), `"q-1/messages"`},
		"a queue of two letters":               {storage("AccountName=a;AccountKey=a2V5", "q1"), "3 to 63 characters"},
		"the URL of blobs, with a credential":  {tasks("StorageAccountQueueBackend", "abc", "STORAGE_ACCOUNT_QUEUE_DEFAULT_QUEUE_NAME", "abc", "STORAGE_ACCOUNT_URL", "https://a.blob.core.windows.net", "STORAGE_ACCOUNT_CREDENTIAL_LOADER", "managed_identity"), "STORAGE_ACCOUNT_URL in backend \"default\" cannot be used: the address is that of the account's blob service"},
		"the URL of queues, with a credential": {tasks("StorageAccountQueueBackend", "abc", "STORAGE_ACCOUNT_QUEUE_DEFAULT_QUEUE_NAME", "abc", "STORAGE_ACCOUNT_URL", "https://a.queue.core.windows.net", "STORAGE_ACCOUNT_CREDENTIAL_LOADER", "managed_identity"), ""},
	} {
		if strings.Contains(c.tasks, "STORAGE_ACCOUNT_URL") {
			c.tasks = strings.Replace(c.tasks, `"OPTIONS":{`, `"OPTIONS":{"STORAGE_ACCOUNT_USE_CONNECTION_STRING":false,`, 1)
		}
		out := refuses(t, with(offline(t), "TASKGATE_TASKS", c.tasks))
		if c.want == "" {
			c.want = "FUNCTIONS_CUSTOMHANDLER_PORT" // which is taken: the settings are all right
		}
		if !strings.Contains(out, c.want) || strings.Contains(out, "c2VjcmV0") || strings.Contains(out, "a2V5") {
			t.Errorf("%s: %q is wanted, and no secret, in: %s", name, c.want, out)
		}
	}
}

// TestRequestForAnImpossibleQueueIsRefused: the service is not
// there, so nothing but the check can answer.
func TestRequestForAnImpossibleQueueIsRefused(t *testing.T) {
	c := offline(t)
	delete(c, "FUNCTIONS_CUSTOMHANDLER_PORT")
	c["TASKGATE_TASKS"] = `{
		"bus": {"BACKEND": "ServiceBusQueueBackend", "QUEUES": [], "OPTIONS": {"SERVICEBUS_CONNECTION_STRING": "` + busKey + `"}},
		"one": {"BACKEND": "ServiceBusQueueBackend", "QUEUES": [], "OPTIONS": {"SERVICEBUS_DEFAULT_QUEUE_NAME": "only", "SERVICEBUS_CONNECTION_STRING": "` + busKey + `;EntityPath=only"}},
		"storage": {"BACKEND": "StorageAccountQueueBackend", "QUEUES": [], "OPTIONS": {"STORAGE_ACCOUNT_CONNECTION_STRING": "AccountName=a;AccountKey=a2V5"}}}`
	h := functionshost.Start(t, filepath.Join(staged, "azure"), functionshost.Options{Settings: c})
	api := newClient(t, h.URL())
	for _, request := range [][2]string{
		{"bus", "$cbs"}, {"bus", "x/$deadletterqueue"}, {"one", "other"},
		{"storage", "Emails"}, {"storage", "q1"}, {"storage", "my_queue"}, {"storage", "a--b"}, {"storage", strings.Repeat("a", 64)}, {"storage", "q-1/messages"},
	} {
		status, answer := api.send(t.Context(), "POST", "/v1/tasks", fmt.Sprintf(`{"task_name":"t","backend":%q,"queue_name":%q}`, request[0], request[1]))
		if status != http.StatusUnprocessableEntity || !strings.Contains(string(answer), `"/queue_name"`) {
			t.Errorf("%s %s: %d %s", request[0], request[1], status, answer)
		}
	}
}

func TestEveryMistakeInTheSettingsIsReportedAtOnce(t *testing.T) {
	out := refuses(t, map[string]string{
		"TASKGATE_TASKS":      `{"default":{"BACKEND":"SQSBackend"}}`,
		"TASKGATE_COSMS":      "x",
		"TASKGATE_RESULT_TTL": "soon",
		"TASKGATE_API_KEYS":   "nobody",
		"TASKGATE_PUBLIC_URL": "app",
	})
	for _, want := range []string{
		"functions/aws", "TASKGATE_COSMS", "TASKGATE_RESULT_TTL", "TASKGATE_API_KEYS", "TASKGATE_PUBLIC_URL",
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
