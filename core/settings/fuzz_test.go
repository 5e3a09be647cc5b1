package settings_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/taskgate/taskgate/core/settings"
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
		`{"a/b~c":{"BACKEND":"SNSTopicBackend","OPTIONS":{"AWS_SNS_ARN_PREFIX":"arn:::::","PAYLOAD":"plain"}}}`,
		`{"a":{"BACKEND":"ServiceBusQueueBackend","OPTIONS":{"SERVICEBUS_CONNECTION_STRING":";=;"}}}`,
		`{"a":{"BACKEND":"StorageAccountQueueBackend","OPTIONS":{"STORAGE_ACCOUNT_USE_CONNECTION_STRING":false,"STORAGE_ACCOUNT_URL":"http://[::1"}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		backends, err := settings.ParseTasks(data, "mine")
		if err != nil {
			var errs settings.Errors
			if !errors.As(err, &errs) || len(errs) == 0 {
				t.Fatalf("not an Errors: %v", err)
			}
			return
		}
		if len(backends) == 0 {
			t.Fatal("no backends and no error")
		}
		for _, b := range backends {
			if b.Alias == "" || b.Name == "" || b.Kind == "" || b.Options == nil {
				t.Fatalf("an incomplete backend: %+v", b)
			}
		}
	})
}
