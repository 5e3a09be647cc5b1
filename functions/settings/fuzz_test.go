package settings_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/taskgate/taskgate/functions/settings"
)

// Whatever TASKS holds, the parser answers with complete backends or with
// [settings.Errors], and does not panic.
func FuzzTasksParseOrAreRefused(f *testing.F) {
	data, err := os.ReadFile(filepath.Join("testdata", "tasks-settings.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	for _, seed := range []string{
		``, `{}`, `[]`, `null`, `{"a":null}`, `{"a":{}}`, `{"a":{"BACKEND":"."}}`, `{"a":{"BACKEND":"x.SQSBackend","QUEUES":[[]]}}`,
		`{"a":{"BACKEND":"LocalBackend","QUEUES":[],"OPTIONS":{"LOCAL_MAX_DELIVERIES":1e400,"":0}}}`,
		`{"a/b~c":{"BACKEND":"SNSTopicBackend","OPTIONS":{"AWS_SNS_ARN_PREFIX":"arn:::::","PAYLOAD":"plain","PRIORITY_QUEUES":{"a":{"-1":"b"}}}}}`,
		`{"a":{"BACKEND":"DummyBackend"},"b":{"BACKEND":"SQSBackend","ENQUEUE_ON_COMMIT":null}}`,
		`{"a":{"BACKEND":"ServiceBusQueueBackend","OPTIONS":{"SERVICEBUS_CONNECTION_STRING":";=;"}}}`,
		`{"a":{"BACKEND":"StorageAccountQueueBackend","OPTIONS":{"STORAGE_ACCOUNT_USE_CONNECTION_STRING":false,"STORAGE_ACCOUNT_URL":"http://[::1"}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tasks, err := settings.ParseTasks(data, everything())
		if err != nil {
			var errs settings.Errors
			if !errors.As(err, &errs) || len(errs) == 0 {
				t.Fatalf("not an Errors: %v", err)
			}
			return
		}
		if len(tasks.Backends) == 0 {
			t.Fatal("no backends and no error")
		}
		for _, b := range tasks.Backends {
			if b.Alias == "" || b.Name == "" || b.Kind == "" || b.Options == nil || b.Payload == "" || b.Queues == nil {
				t.Fatalf("an incomplete backend: %+v", b)
			}
		}
	})
}

// FuzzEnv: whatever the environment holds, a main gets complete settings or
// errors that name a variable, and never a secret in them.
func FuzzEnv(f *testing.F) {
	const secret = "SECRET-SECRET-SECRET-SECRET-SECRET-SECRET"
	for _, seed := range []string{
		"", sqsTasks + "\nTASKGATE_API_KEYS=a:read:" + sum + "\nTASKGATE_TOKEN_SECRETS=" + long,
		"TASKGATE_TASKS={\nTASKGATE_RESULT_TTL=1x\nTASKGATE_MAX_WAIT=21s\nTASKGATE_PUBLIC_URL=https://u:p@h?#",
		"TASKGATE_TABEL=x\nTASKGATE_AUTH=nobody\nTASKGATE_API_KEYS=:,::,a:b:c\nTASKGATE_TOKEN_SECRETS=,", "=\n\x00=\nTASKGATE_=1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, main := range []settings.Main{aws(), local()} {
			env := settings.NewEnv(append(strings.Split(text, "\n"), "TASKGATE_AUTH=keys", "TASKGATE_API_KEYS="+secret))
			env.Service(main)
			if err := env.Err(); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%q: a key in place of an entry: %v", text, err)
			}
			env = settings.NewEnv(strings.Split(text, "\n"))
			got := env.Service(main)
			var errs settings.Errors
			if err := env.Err(); err != nil {
				if !errors.As(err, &errs) || len(errs) == 0 {
					t.Errorf("%q: %v", text, err)
				}
				continue
			}
			if len(got.Backends) == 0 || got.ResultTTL <= 0 || got.MaxWait < 0 || got.MaxWait > 20*time.Second || got.Auth == settings.AuthKeys && len(got.APIKeys) == 0 ||
				len(got.TokenSecrets) == 0 && !main.MakesTokenSecret {
				t.Errorf("%q became %+v", text, got)
			}
		}
	})
}

// FuzzAPIKeys: what is read as keys is shown as what is read as the same.
func FuzzAPIKeys(f *testing.F) {
	for _, seed := range []string{"", "a:read:" + sum, " a:read+enqueue:" + sum + " , b@c.d-_:admin:" + strings.ToUpper(sum), "a:read+read:" + sum, ":::", "a::"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := settings.ParseAPIKeys(text)
		if err != nil {
			return
		}
		var entries []string
		for _, k := range keys {
			entries = append(entries, k.String())
		}
		same, err := settings.ParseAPIKeys(strings.Join(entries, ","))
		if err != nil || !reflect.DeepEqual(same, keys) {
			t.Errorf("%q is read as %v, and then as %v, %v", text, keys, same, err)
		}
	})
}
