package settings_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskgate/taskgate/functions/settings"
)

func aws() settings.Main {
	return settings.Main{
		Name: "functions/aws",
		Serves: []settings.Kind{settings.SQSBackend, settings.SNSTopicBackend,
			settings.EventBridgeSchedulerBackend, settings.LambdaAsyncInvocationBackend},
		Auth: []settings.Auth{settings.AuthKeys, settings.AuthPlatform},
	}
}

func local() settings.Main {
	return settings.Main{
		Name:             "functions/local",
		Serves:           []settings.Kind{settings.LocalBackend},
		Auth:             []settings.Auth{settings.AuthNone, settings.AuthKeys},
		DefaultTasks:     `{"default":{"BACKEND":"taskgate.LocalBackend","QUEUES":[]}}`,
		MakesTokenSecret: true,
	}
}

const (
	sqsTasks = `TASKGATE_TASKS={"default":{"BACKEND":"SQSBackend"}}`
	sum      = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" // SHA-256 of "secret"
	long     = "0123456789abcdef0123456789abcdef"
)

func TestLocalNeedsNoSettings(t *testing.T) {
	env := settings.NewEnv(nil)
	got := env.Service(local())
	if err := env.Err(); err != nil {
		t.Fatal(err)
	}
	want := settings.Service{
		Backends: []settings.Backend{{Alias: "default", Name: "LocalBackend", Kind: settings.LocalBackend,
			DefaultQueue: "default", Options: &settings.LocalOptions{MaxDeliveries: 20}}},
		Auth: settings.AuthNone, ResultTTL: 168 * time.Hour, MaxWait: 20 * time.Second,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v", got)
	}
}

func TestServiceReadsEverySetting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tasks.json")
	if err := os.WriteFile(path, []byte(`{"q":{"BACKEND":"SQSBackend","QUEUES":[]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	env := settings.NewEnv([]string{
		"TASKGATE_TASKS=", "TASKGATE_TASKS_FILE=" + path, "TASKGATE_PUBLIC_URL=https://api.example/prod/", "TASKGATE_AUTH=keys",
		"TASKGATE_API_KEYS=web:enqueue+read:" + sum, "TASKGATE_TOKEN_SECRETS=" + long + ", second-" + long,
		"TASKGATE_RESULT_TTL=1h", "TASKGATE_MAX_WAIT=0s",
	})
	got := env.Service(aws())
	if err := env.Err(); err != nil {
		t.Fatal(err)
	}
	if b := got.Backends; len(b) != 1 || b[0].Alias != "q" || b[0].Kind != settings.SQSBackend {
		t.Errorf("backends: %+v", b)
	}
	if got.PublicURL != "https://api.example/prod" || got.Auth != settings.AuthKeys || got.ResultTTL != time.Hour || got.MaxWait != 0 {
		t.Errorf("got %+v", got)
	}
	if len(got.APIKeys) != 1 || got.APIKeys[0].String() != "web:enqueue+read:"+sum {
		t.Errorf("keys: %v", got.APIKeys)
	}
	if s := got.TokenSecrets; len(s) != 2 || string(s[0]) != long || string(s[1]) != "second-"+long {
		t.Errorf("secrets: %q", s)
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	const authSet = "TASKGATE_API_KEYS is set, but TASKGATE_AUTH is %s, which ignores it: set that to keys, or leave this out"
	key := "TASKGATE_API_KEYS=web:read:" + sum
	secret := "TASKGATE_TOKEN_SECRETS=" + long
	tests := []struct {
		name    string
		main    settings.Main
		environ []string
		want    []string
	}{
		{"nothing is set", aws(), nil, []string{
			"TASKGATE_TASKS or TASKGATE_TASKS_FILE is required",
			"TASKGATE_API_KEYS is required when TASKGATE_AUTH is keys; make key mints one",
			"TASKGATE_TOKEN_SECRETS is required: at least 32 random bytes",
		}},
		{"everything is wrong", aws(), []string{
			`TASKGATE_TASKS={"default":{"BACKEND":"SQSBackend","OPTIONS":{"AWS_REGIONS":""}}}`, "TASKGATE_PUBLIC_URL=h", "TASKGATE_AUTH=none",
			"TASKGATE_API_KEYS=x,web:reed:" + sum, "TASKGATE_TOKEN_SECRETS=short", "TASKGATE_RESULT_TTL=0s", "TASKGATE_MAX_WAIT=21s", "TASKGATE_TABEL=t",
		}, []string{
			`unknown option AWS_REGIONS in backend "default"; did you mean AWS_REGION?`,
			"TASKGATE_PUBLIC_URL must be an absolute http or https URL without user, query and fragment",
			`TASKGATE_AUTH is "none", and must be keys or platform`,
			"entry 1 of TASKGATE_API_KEYS must be name:scope+scope:sha256hex",
			"entry 2 of TASKGATE_API_KEYS has an unknown scope; the scopes are enqueue, read and admin, joined by +",
			"entry 1 of TASKGATE_TOKEN_SECRETS has 5 bytes, and must have at least 32",
			`TASKGATE_RESULT_TTL is "0s", and must be at least 1ms`,
			`TASKGATE_MAX_WAIT is "21s", and must be from 0s to 20s`,
			"unknown variable TASKGATE_TABEL",
		}},
		{"both sources of TASKS", aws(), []string{sqsTasks, "TASKGATE_TASKS_FILE=x", key, secret},
			[]string{"TASKGATE_TASKS and TASKGATE_TASKS_FILE are both set; one of them is enough"}},
		{"no such file", aws(), []string{"TASKGATE_TASKS_FILE=/nowhere/tasks.json", key, secret},
			[]string{"TASKGATE_TASKS_FILE cannot be read: open /nowhere/tasks.json: no such file or directory"}},
		{"keys that platform ignores", aws(), []string{sqsTasks, "TASKGATE_AUTH=platform", key, secret},
			[]string{fmt.Sprintf(authSet, "platform")}},
		{"keys that local's default ignores", local(), []string{key}, []string{fmt.Sprintf(authSet, "none")}},
		{"keys without keys", local(), []string{"TASKGATE_AUTH=keys"},
			[]string{"TASKGATE_API_KEYS is required when TASKGATE_AUTH is keys; make key mints one"}},
		{"platform on local", local(), []string{"TASKGATE_AUTH=platform"}, []string{`TASKGATE_AUTH is "platform", and must be none or keys`}},
		{"platform", aws(), []string{sqsTasks, "TASKGATE_AUTH=platform", secret}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env := settings.NewEnv(tt.environ)
			env.Service(tt.main)
			if got := mistakes(env.Err()); !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestABackendOfAnotherMainIsRefusedByName(t *testing.T) {
	aws, local := aws(), local()
	azure := settings.Main{Name: "functions/azure", Serves: []settings.Kind{settings.ServiceBusQueueBackend,
		settings.ServiceBusTopicBackend, settings.StorageAccountQueueBackend}}
	few := aws
	few.Serves = []settings.Kind{settings.SQSBackend}
	data, err := os.ReadFile(filepath.Join("testdata", "tasks-settings.json"))
	if err != nil {
		t.Fatal(err)
	}
	seven, err := settings.ParseTasks(data)
	if err != nil {
		t.Fatal(err)
	}
	localBackend, err := settings.ParseTasks([]byte(local.DefaultTasks))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		main     settings.Main
		backends []settings.Backend
		want     []string
	}{
		{local, localBackend, nil},
		{aws, localBackend, []string{`backend "default" is LocalBackend, which the local taskgate (functions/local) serves; this is functions/aws`}},
		{local, seven[1:2], []string{`backend "default" is SQSBackend, which taskgate for AWS (functions/aws) serves; this is functions/local`}},
		{few, seven[:2], []string{`backend "sns" is SNSTopicBackend, which this build of functions/aws leaves out`}},
		{azure, seven[3:], []string{`backend "lambda" is LambdaAsyncInvocationBackend, which taskgate for AWS (functions/aws) serves; this is functions/azure`}},
		{aws, seven, []string{
			`backend "service_bus" is ServiceBusQueueBackend, which taskgate for Azure (functions/azure) serves; this is functions/aws`,
			`backend "service_bus_topic" is ServiceBusTopicBackend, which taskgate for Azure (functions/azure) serves; this is functions/aws`,
			`backend "sa_queue" is StorageAccountQueueBackend, which taskgate for Azure (functions/azure) serves; this is functions/aws`,
		}},
	}
	for _, tt := range tests {
		if got := mistakes(tt.main.Unserved(tt.backends)); !slices.Equal(got, tt.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.main.Name, got, tt.want)
		}
	}
}
