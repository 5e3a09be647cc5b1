package settings_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/functions/settings"
)

func aws() settings.Main {
	return settings.Main{
		Name: "functions/aws",
		Serves: map[settings.Kind]settings.CheckQueue{settings.SQSBackend: nil, settings.SNSTopicBackend: nil,
			settings.EventBridgeSchedulerBackend: nil, settings.LambdaAsyncInvocationBackend: nil},
		Auth: []settings.Auth{settings.AuthKeys, settings.AuthPlatform},
	}
}

func local() settings.Main {
	return settings.Main{
		Name:             "functions/local",
		Serves:           map[settings.Kind]settings.CheckQueue{settings.LocalBackend: nil},
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
		Tasks: settings.Tasks{PassedOver: map[string]string{}, Backends: []settings.Backend{{Alias: "default", Name: "LocalBackend", Kind: settings.LocalBackend,
			Queues: []string{}, DefaultQueue: "default", Payload: "json", Options: &settings.LocalOptions{MaxDeliveries: 20}}}},
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
	const (
		authSet = "TASKGATE_API_KEYS is set, but TASKGATE_AUTH is %s, which ignores it: set TASKGATE_AUTH to keys, or remove TASKGATE_API_KEYS"
		keyless = "TASKGATE_API_KEYS is required when TASKGATE_AUTH is keys; make key prints an entry"
		baseURL = "must be a URL such as https://tasks.example.com, without user, query and fragment"
	)
	scopes := strings.Join(httpapi.Scopes(), ", ")
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
			keyless,
			"TASKGATE_TOKEN_SECRETS is required: at least 32 random bytes, such as openssl rand -base64 32 prints",
		}},
		{"everything is wrong", aws(), []string{
			`TASKGATE_TASKS={"default":{"BACKEND":"SQSBackend","OPTIONS":{"AWS_REGIONS":""}}}`, "TASKGATE_PUBLIC_URL=h", "TASKGATE_AUTH=none",
			"TASKGATE_API_KEYS=x,web:reed:" + sum, "TASKGATE_TOKEN_SECRETS=short", "TASKGATE_RESULT_TTL=0s", "TASKGATE_MAX_WAIT=21s", "TASKGATE_TABEL=t",
		}, []string{
			`AWS_REGIONS in backend "default" is an unknown option of SQSBackend; did you mean AWS_REGION?`,
			"TASKGATE_PUBLIC_URL " + baseURL,
			`TASKGATE_AUTH is "none", but must be keys or platform`,
			"entry 1 of TASKGATE_API_KEYS must be name:scope+scope:sha256hex; make key prints such an entry",
			"entry 2 of TASKGATE_API_KEYS has an unknown scope; the scopes are " + scopes + ", joined by +",
			"entry 1 of TASKGATE_TOKEN_SECRETS has 5 bytes, but must have at least 32",
			`TASKGATE_RESULT_TTL is "0s", but must be from 1ms to 876000h0m0s`,
			`TASKGATE_MAX_WAIT is "21s", but must be from 0s to 20s`,
			"TASKGATE_TABEL is an unknown setting",
		}},
		{"both sources of TASKS", aws(), []string{sqsTasks, "TASKGATE_TASKS_FILE=x", key, secret},
			[]string{"TASKGATE_TASKS and TASKGATE_TASKS_FILE are both set: remove one of them"}},
		{"no such file", aws(), []string{"TASKGATE_TASKS_FILE=/nowhere/tasks.json", key, secret},
			[]string{"TASKGATE_TASKS_FILE cannot be read: stat /nowhere/tasks.json: no such file or directory"}},
		{"keys that platform ignores", aws(), []string{sqsTasks, "TASKGATE_AUTH=platform", key, secret},
			[]string{fmt.Sprintf(authSet, "platform")}},
		{"keys that local's default ignores", local(), []string{key}, []string{fmt.Sprintf(authSet, "none")}},
		{"keys without keys", local(), []string{"TASKGATE_AUTH=keys"},
			[]string{keyless}},
		{"platform on local", local(), []string{"TASKGATE_AUTH=platform"}, []string{`TASKGATE_AUTH is "platform", but must be none or keys`}},
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

// TASKS may hold backends that other programs serve. The main passes them over,
// with one warning each, whatever their options are.
func TestBackendsOfOtherProgramsArePassedOver(t *testing.T) {
	const bus, local = `{"BACKEND":"x.ServiceBusQueueBackend","OPTIONS":{"SERVICEBUS_TYPO":1}}`, `{"BACKEND":"taskgate.LocalBackend"}`
	few := aws()
	few.Serves = map[settings.Kind]settings.CheckQueue{settings.SQSBackend: nil}
	for name, tt := range map[string]struct {
		main          settings.Main
		backend, want string
	}{
		"Django's immediate backend":               {aws(), `{"BACKEND":"django.tasks.backends.immediate.ImmediateBackend","QUEUES":7,"X":1}`, "ImmediateBackend is served by Django itself, not by taskgate"},
		"Django's dummy backend":                   {aws(), `{"BACKEND":"django.tasks.backends.dummy.DummyBackend","ENQUEUE_ON_COMMIT":false}`, "DummyBackend is served by Django itself, not by taskgate"},
		"Django's database backend":                {aws(), `{"BACKEND":"django_tasks.backends.database.DatabaseBackend"}`, "DatabaseBackend is served by Django itself, not by taskgate"},
		"the other cloud's backend":                {aws(), bus, "ServiceBusQueueBackend is served by taskgate for Azure (functions/azure), and this is functions/aws"},
		"the local backend":                        {aws(), local, "LocalBackend is served by the local taskgate (functions/local), and this is functions/aws"},
		"a backend that was left out of the build": {few, `{"BACKEND":"SNSTopicBackend"}`, "this build of functions/aws leaves out SNSTopicBackend"},
	} {
		got, err := settings.ParseTasks([]byte(`{"other":`+tt.backend+`,"default":{"BACKEND":"SQSBackend"}}`), tt.main)
		if err != nil || len(got.Backends) != 1 || got.Backends[0].Alias != "default" {
			t.Errorf("%s: got %+v, %v", name, got.Backends, err)
		}
		if want := map[string]string{"other": tt.want}; !reflect.DeepEqual(got.PassedOver, want) {
			t.Errorf("%s: passed over %q, want %q", name, got.PassedOver, want)
		}
		if want := []string{`backend "other" is passed over: ` + tt.want}; !slices.Equal(got.Warnings, want) {
			t.Errorf("%s: warnings %q, want %q", name, got.Warnings, want)
		}
	}
}

// A program that is no main reads all backends but Django's.
func TestWithoutAMainEveryBackendOfTaskgateIsRead(t *testing.T) {
	got, err := settings.ParseTasks([]byte(`{"a":{"BACKEND":"SQSBackend"},"b":{"BACKEND":"LocalBackend"},"c":{"BACKEND":"DummyBackend"}}`), settings.Main{})
	if err != nil || len(got.Backends) != 2 || got.PassedOver["c"] == "" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAMainWithoutAnyBackendOfItsOwnIsRefused(t *testing.T) {
	_, err := settings.ParseTasks([]byte(`{"a":{"BACKEND":"DummyBackend"},"b":{"BACKEND":"SQSBackend"}}`), local())
	want := []string{`TASKS has no backend for this main; backend "a" is passed over: DummyBackend is served by Django itself, not by taskgate; ` +
		`backend "b" is passed over: SQSBackend is served by taskgate for AWS (functions/aws), and this is functions/local`}
	if got := mistakes(err); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEnqueueOnCommitIsAWarning(t *testing.T) {
	for _, value := range []string{"true", "false", "null"} {
		got, err := settings.ParseTasks(one(`{"BACKEND":"SQSBackend","ENQUEUE_ON_COMMIT":`+value+`}`), aws())
		want := []string{`ENQUEUE_ON_COMMIT in backend "default" has no effect: the client decides when it sends a task`}
		if err != nil || !slices.Equal(got.Warnings, want) {
			t.Errorf("%s: got %q, %v", value, got.Warnings, err)
		}
	}
}

func TestAdminsAreReadOnlyWhereThePlatformAuthenticates(t *testing.T) {
	const tooFew = " of TASKGATE_ADMINS must be the name of a caller, once, and without control characters"
	for _, tt := range []struct {
		main       settings.Main
		auth, list string
		want       []string
		mistake    string
	}{
		{aws(), "platform", "issuer#subject, arn:aws:iam::123456789012:user/ops\n", []string{"issuer#subject", "arn:aws:iam::123456789012:user/ops"}, ""},
		{aws(), "platform", "", nil, ""},
		{aws(), "platform", "a,,b", []string{"a", "", "b"}, "entry 2" + tooFew},
		{aws(), "platform", "a,a", []string{"a", "a"}, "entry 2" + tooFew},
		{aws(), "keys", "a", nil, "TASKGATE_ADMINS is set, but TASKGATE_AUTH is keys, which ignores it: set TASKGATE_AUTH to platform, or remove TASKGATE_ADMINS"},
		{local(), "keys", "a", nil, "TASKGATE_ADMINS is set, but nothing in functions/local reads it: a key's scopes are part of its entry in TASKGATE_API_KEYS"},
	} {
		environ := []string{"TASKGATE_AUTH=" + tt.auth, "TASKGATE_ADMINS=" + tt.list, "TASKGATE_TOKEN_SECRETS=" + long}
		if tt.main.Name == "functions/aws" {
			environ = append(environ, sqsTasks)
		}
		if tt.auth == "keys" {
			environ = append(environ, "TASKGATE_API_KEYS=web:read:"+sum)
		}
		env := settings.NewEnv(environ)
		got := env.Service(tt.main).Admins
		var want []string
		if tt.mistake != "" {
			want = []string{tt.mistake}
		}
		if errs := mistakes(env.Err()); !slices.Equal(got, tt.want) || !slices.Equal(errs, want) {
			t.Errorf("%s with %s: got %q, %q; want %q, %q", tt.list, tt.auth, got, errs, tt.want, want)
		}
	}
}

// A file of TASKS that is no file, has no end, or was saved with a byte order
// mark is refused with words that say so.
func TestTheTasksFileMustBeAPlainUTF8File(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link") // as Kubernetes mounts them
	if err := os.Symlink(write("good", `{"a":{"BACKEND":"SQSBackend"}}`), link); err != nil {
		t.Fatal(err)
	}
	const bom = "TASKS must not begin with a byte order mark: save it as UTF-8 without BOM"
	for _, tt := range []struct{ path, want string }{
		{link, ""},
		{dir, "TASKGATE_TASKS_FILE cannot be read: " + dir + " is not a regular file"},
		{pipe, "TASKGATE_TASKS_FILE cannot be read: " + pipe + " is not a regular file"},
		{"/dev/zero", "TASKGATE_TASKS_FILE cannot be read: /dev/zero is not a regular file"},
		{write("huge", strings.Repeat(" ", 1<<20+1)), "TASKGATE_TASKS_FILE cannot be read: " + filepath.Join(dir, "huge") + " has more than 1048576 bytes"},
		{write("empty", ""), "TASKS is empty"},
		{write("bom", "\ufeff{}"), bom},
		{write("utf16", "\xff\xfe{\x00}\x00"), bom},
		{write("unresolved", "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s)"), "TASKS " + unresolved("@Microsoft.…(…)")},
	} {
		env := settings.NewEnv([]string{"TASKGATE_TASKS_FILE=" + tt.path, "TASKGATE_API_KEYS=web:read:" + sum, "TASKGATE_TOKEN_SECRETS=" + long})
		env.Service(aws())
		var want []string
		if tt.want != "" {
			want = []string{tt.want}
		}
		if got := mistakes(env.Err()); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", tt.path, got, want)
		}
	}
}

// unresolved is the mistake of a value that holds a reference of a form.
func unresolved(form string) string {
	return "holds the reference " + form + " itself, which nothing has resolved: the platform must put the value in its place"
}
