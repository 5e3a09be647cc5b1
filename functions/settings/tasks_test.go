package settings_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/functions/settings"
)

const (
	serviceBus = "Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=x;SharedAccessKey=y;UseDevelopmentEmulator=true"
	azurite    = "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"
	role       = "arn:aws:iam::000000000000:role/scheduler"
)

// What django-tasks-cloud's users have, dumped as JSON, loads as it is.
func TestDjangoSettingsLoadAsTheyAre(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "tasks-settings.json"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := settings.ParseTasks(data, everything())
	if err != nil {
		t.Fatal(err)
	}
	email := []string{"email-ingestor"}
	want := []settings.Backend{
		{Alias: "sns", Name: "SNSTopicBackend", Kind: settings.SNSTopicBackend, Queues: email, DefaultQueue: "testing",
			Options: &settings.SNSOptions{ARNPrefix: "arn:aws:sns:ap-south-1:000000000000:", Region: "ap-south-1"}},
		{Alias: "default", Name: "SQSBackend", Kind: settings.SQSBackend, Queues: email, DefaultQueue: "testing",
			Options: &settings.SQSOptions{Region: "ap-south-1"}},
		{Alias: "eventbridge_scheduler", Name: "EventBridgeSchedulerBackend", Kind: settings.EventBridgeSchedulerBackend,
			Queues: email, DefaultQueue: "testing",
			Options: &settings.EventBridgeSchedulerOptions{Region: "ap-south-1", Scheduler: settings.Scheduler{RoleARN: role}}},
		{Alias: "lambda", Name: "LambdaAsyncInvocationBackend", Kind: settings.LambdaAsyncInvocationBackend,
			Queues: email, DefaultQueue: "testing", Options: &settings.LambdaOptions{Region: "ap-south-1"}},
		{Alias: "service_bus", Name: "ServiceBusQueueBackend", Kind: settings.ServiceBusQueueBackend,
			Queues: []string{"default"}, DefaultQueue: "testing",
			Options: &settings.ServiceBusOptions{UseConnectionString: true, ConnectionString: serviceBus}},
		{Alias: "service_bus_topic", Name: "ServiceBusTopicBackend", Kind: settings.ServiceBusTopicBackend,
			Queues: []string{"default"}, DefaultQueue: "testing",
			Options: &settings.ServiceBusOptions{NamespaceFQDN: "ns.servicebus.windows.net", CredentialLoader: "managed_identity"}},
		{Alias: "sa_queue", Name: "StorageAccountQueueBackend", Kind: settings.StorageAccountQueueBackend,
			Queues: email, DefaultQueue: "testing",
			Options: &settings.StorageQueueOptions{UseConnectionString: true, ConnectionString: azurite}},
	}
	for i := range want {
		want[i].Payload = "json"
	}
	if !reflect.DeepEqual(got.Backends, want) {
		t.Errorf("got  %#v\nwant %#v", got.Backends, want)
	}
}

// everything is a main that serves every backend.
func everything() settings.Main {
	m := settings.Main{Name: "functions/everything", Loaders: []string{"mine"}, Serves: map[settings.Kind]settings.CheckQueue{}}
	for _, kind := range []settings.Kind{
		settings.SNSTopicBackend, settings.SQSBackend, settings.EventBridgeSchedulerBackend, settings.LambdaAsyncInvocationBackend,
		settings.ServiceBusQueueBackend, settings.ServiceBusTopicBackend, settings.StorageAccountQueueBackend, settings.LocalBackend,
	} {
		m.Serves[kind] = nil
	}
	return m
}

// one wraps a backend as the only one of TASKS.
func one(backend string) []byte { return []byte(`{"default":` + backend + `}`) }

func TestOptionsAreReadAsTheirTableSays(t *testing.T) {
	scheduler := settings.Scheduler{RoleARN: role, GroupName: "tasks.v-1_a", DLQARN: "arn:aws:sqs:eu-west-1:123456789012:dlq"}
	const schedule = `"EVENTBRIDGE_SCHEDULER_ROLE_ARN":"` + role + `","EVENTBRIDGE_SCHEDULER_GROUP_NAME":"tasks.v-1_a",
		"EVENTBRIDGE_SCHEDULER_DLQ_ARN":"arn:aws:sqs:eu-west-1:123456789012:dlq"`
	tests := []struct {
		name, backend string
		want          settings.Options
	}{
		{"SQS with the Scheduler", `{"BACKEND":"SQSBackend","OPTIONS":{` + schedule + `}}`, &settings.SQSOptions{Scheduler: scheduler}},
		{"SNS with the Scheduler", `{"BACKEND":"SNSTopicBackend","OPTIONS":{"AWS_SNS_ARN_PREFIX":"arn:aws:sns:eu-west-1:123456789012:",` + schedule + `}}`,
			&settings.SNSOptions{ARNPrefix: "arn:aws:sns:eu-west-1:123456789012:", Scheduler: scheduler}},
		{"Lambda with the Scheduler", `{"BACKEND":"LambdaAsyncInvocationBackend","OPTIONS":{` + schedule + `}}`, &settings.LambdaOptions{Scheduler: scheduler}},
		{"the Scheduler itself", `{"BACKEND":"EventBridgeSchedulerBackend","OPTIONS":{` + schedule + `}}`, &settings.EventBridgeSchedulerOptions{Scheduler: scheduler}},
		{"AWSLambdaBackend", `{"BACKEND":"a.b.AWSLambdaBackend"}`, &settings.LambdaOptions{}},
		{"no OPTIONS", `{"BACKEND":"SQSBackend","OPTIONS":null}`, &settings.SQSOptions{}},
		{"null and empty options", `{"BACKEND":"SQSBackend","OPTIONS":{"AWS_REGION":"","AWS_DEFAULT_QUEUE_NAME":null,"PAYLOAD":null}}`, &settings.SQSOptions{}},
		{"Service Bus by SAS", `{"BACKEND":"ServiceBusTopicBackend","OPTIONS":{"SERVICEBUS_USE_CONNECTION_STRING":null,"SERVICEBUS_CONNECTION_STRING":"endpoint=sb://n/;SharedAccessSignature=s"}}`,
			&settings.ServiceBusOptions{UseConnectionString: true, ConnectionString: "endpoint=sb://n/;SharedAccessSignature=s"}},
		{"Service Bus, default loader", `{"BACKEND":"ServiceBusQueueBackend","OPTIONS":{"SERVICEBUS_USE_CONNECTION_STRING":false,"SERVICEBUS_NAMESPACE_FQDN":"ns.servicebus.windows.net"}}`,
			&settings.ServiceBusOptions{NamespaceFQDN: "ns.servicebus.windows.net", CredentialLoader: "default"}},
		{"Service Bus, own loader", `{"BACKEND":"ServiceBusQueueBackend","OPTIONS":{"SERVICEBUS_USE_CONNECTION_STRING":false,"SERVICEBUS_NAMESPACE_FQDN":"ns.example","SERVICEBUS_CREDENTIAL_LOADER":"mine"}}`,
			&settings.ServiceBusOptions{NamespaceFQDN: "ns.example", CredentialLoader: "mine"}},
		{"Service Bus, the other way's settings unread", `{"BACKEND":"ServiceBusQueueBackend","OPTIONS":{"SERVICEBUS_CONNECTION_STRING":"` + serviceBus + `","SERVICEBUS_NAMESPACE_FQDN":"sb://x","SERVICEBUS_CREDENTIAL_LOADER":"path.to.one"}}`,
			&settings.ServiceBusOptions{UseConnectionString: true, ConnectionString: serviceBus, NamespaceFQDN: "sb://x", CredentialLoader: "path.to.one"}},
		{"Service Bus, as its entities are", `{"BACKEND":"ServiceBusQueueBackend","OPTIONS":{"SERVICEBUS_CONNECTION_STRING":"` + serviceBus + `","SERVICEBUS_REQUIRES_SESSION":true,"SERVICEBUS_MAX_DELIVERY_COUNT":10,"SERVICEBUS_MAX_MESSAGE_SIZE_IN_KILOBYTES":1024}}`,
			&settings.ServiceBusOptions{UseConnectionString: true, ConnectionString: serviceBus, RequiresSession: true, MaxDeliveries: 10, MaxMessageKiB: 1024}},
		{"Storage, as its host reads", `{"BACKEND":"StorageAccountQueueBackend","OPTIONS":{"STORAGE_ACCOUNT_CONNECTION_STRING":"QueueEndpoint=https://a/;SharedAccessSignature=s","STORAGE_ACCOUNT_QUEUE_MAX_DEQUEUE_COUNT":5}}`,
			&settings.StorageQueueOptions{UseConnectionString: true, ConnectionString: "QueueEndpoint=https://a/;SharedAccessSignature=s", MaxDeliveries: 5}},
		{"Storage by URL", `{"BACKEND":"StorageAccountQueueBackend","OPTIONS":{"STORAGE_ACCOUNT_USE_CONNECTION_STRING":false,"STORAGE_ACCOUNT_URL":"https://a.queue.core.windows.net/","STORAGE_ACCOUNT_CREDENTIAL_LOADER":"azure_cli"}}`,
			&settings.StorageQueueOptions{URL: "https://a.queue.core.windows.net", CredentialLoader: "azure_cli"}},
		{"Storage by SAS", `{"BACKEND":"StorageAccountQueueBackend","OPTIONS":{"STORAGE_ACCOUNT_CONNECTION_STRING":"QueueEndpoint=https://a/;SharedAccessSignature=s"}}`,
			&settings.StorageQueueOptions{UseConnectionString: true, ConnectionString: "QueueEndpoint=https://a/;SharedAccessSignature=s"}},
		{"local", `{"BACKEND":"taskgate.LocalBackend"}`, &settings.LocalOptions{MaxDeliveries: 20}},
		{"local, few deliveries", `{"BACKEND":"taskgate.LocalBackend","OPTIONS":{"LOCAL_MAX_DELIVERIES":1,"PAYLOAD":"json"}}`, &settings.LocalOptions{MaxDeliveries: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := settings.ParseTasks(one(tt.backend), everything())
			if err != nil {
				t.Fatal(err)
			}
			if b := got.Backends[0]; !reflect.DeepEqual(b.Options, tt.want) || b.Payload != "json" {
				t.Errorf("got %#v, want %#v", b.Options, tt.want)
			}
		})
	}
}

func TestTheDefaultQueueIsTheOptionOrTheOnlyQueue(t *testing.T) {
	const snsPrefix = `"AWS_SNS_ARN_PREFIX":"arn:aws:sns:eu-west-1:123456789012:"`
	tests := []struct {
		backend string
		queues  []string
		queue   string
	}{
		{`{"BACKEND":"SQSBackend"}`, []string{"default"}, "default"},
		{`{"BACKEND":"SQSBackend","QUEUES":null}`, []string{"default"}, "default"},
		{`{"BACKEND":"SQSBackend","OPTIONS":{"AWS_DEFAULT_QUEUE_NAME":"z"}}`, []string{"z"}, "z"}, // Django's "default" means z
		{`{"BACKEND":"SQSBackend","QUEUES":["default"],"OPTIONS":{"AWS_DEFAULT_QUEUE_NAME":"z"}}`, []string{"default"}, "z"},
		{`{"BACKEND":"SQSBackend","QUEUES":["a"]}`, []string{"a"}, "a"},
		{`{"BACKEND":"SQSBackend","QUEUES":["a","b","a"]}`, []string{"a", "b"}, ""},
		{`{"BACKEND":"SQSBackend","QUEUES":[]}`, nil, ""},
		{`{"BACKEND":"SQSBackend","QUEUES":["a"],"OPTIONS":{"AWS_DEFAULT_QUEUE_NAME":"z"}}`, []string{"a"}, "z"},
		{`{"BACKEND":"SNSTopicBackend","QUEUES":[],"OPTIONS":{"AWS_DEFAULT_TOPIC_NAME":"z",` + snsPrefix + `}}`, nil, "z"},
		{`{"BACKEND":"EventBridgeSchedulerBackend","QUEUES":[],"OPTIONS":{"AWS_DEFAULT_SQS_QUEUE_NAME":"z","EVENTBRIDGE_SCHEDULER_ROLE_ARN":"` + role + `"}}`, nil, "z"},
		{`{"BACKEND":"AWSLambdaBackend","QUEUES":[],"OPTIONS":{"AWS_DEFAULT_LAMBDA_FUNCTION_NAME":"z"}}`, nil, "z"},
		{`{"BACKEND":"ServiceBusQueueBackend","QUEUES":[],"OPTIONS":{"SERVICEBUS_DEFAULT_QUEUE_NAME":"z","SERVICEBUS_CONNECTION_STRING":"` + serviceBus + `"}}`, nil, "z"},
		{`{"BACKEND":"ServiceBusTopicBackend","QUEUES":[],"OPTIONS":{"SERVICEBUS_DEFAULT_TOPIC_NAME":"z","SERVICEBUS_CONNECTION_STRING":"` + serviceBus + `"}}`, nil, "z"},
		{`{"BACKEND":"StorageAccountQueueBackend","QUEUES":[],"OPTIONS":{"STORAGE_ACCOUNT_QUEUE_DEFAULT_QUEUE_NAME":"z","STORAGE_ACCOUNT_CONNECTION_STRING":"` + azurite + `"}}`, nil, "z"},
		{`{"BACKEND":"LocalBackend","QUEUES":[]}`, nil, "default"},
		{`{"BACKEND":"LocalBackend"}`, []string{"default"}, "default"},
		{`{"BACKEND":"LocalBackend","QUEUES":["a"]}`, []string{"a"}, "a"},
		{`{"BACKEND":"LocalBackend","QUEUES":["a","b"]}`, []string{"a", "b"}, ""},
		{`{"BACKEND":"LocalBackend","QUEUES":[],"OPTIONS":{"LOCAL_DEFAULT_QUEUE_NAME":"z"}}`, nil, "z"},
	}
	for _, tt := range tests {
		got, err := settings.ParseTasks(one(tt.backend), everything())
		if err != nil {
			t.Errorf("%s: %v", tt.backend, err)
			continue
		}
		if b := got.Backends[0]; b.DefaultQueue != tt.queue || !slices.Equal(b.Queues, tt.queues) {
			t.Errorf("%s: got %q of %q, want %q of %q", tt.backend, b.DefaultQueue, b.Queues, tt.queue, tt.queues)
		}
	}
}

func TestPayloadsWithoutTheEnvelopeNeedAttributes(t *testing.T) {
	options := map[settings.Kind]string{
		settings.SNSTopicBackend:              `"AWS_SNS_ARN_PREFIX":"arn:aws:sns:eu-west-1:123456789012:"`,
		settings.SQSBackend:                   `"AWS_REGION":null`,
		settings.EventBridgeSchedulerBackend:  `"EVENTBRIDGE_SCHEDULER_ROLE_ARN":"` + role + `"`,
		settings.LambdaAsyncInvocationBackend: `"AWS_REGION":null`,
		settings.ServiceBusQueueBackend:       `"SERVICEBUS_CONNECTION_STRING":"` + serviceBus + `"`,
		settings.ServiceBusTopicBackend:       `"SERVICEBUS_CONNECTION_STRING":"` + serviceBus + `"`,
		settings.StorageAccountQueueBackend:   `"STORAGE_ACCOUNT_CONNECTION_STRING":"` + azurite + `"`,
		settings.LocalBackend:                 `"LOCAL_MAX_DELIVERIES":null`,
	}
	refused := []settings.Kind{settings.LambdaAsyncInvocationBackend, settings.StorageAccountQueueBackend}
	for kind, others := range options {
		for _, payload := range []task.Payload{task.PayloadPlain, task.PayloadDjango} {
			got, err := settings.ParseTasks(one(`{"BACKEND":"`+string(kind)+`","OPTIONS":{"PAYLOAD":"`+string(payload)+`",`+others+`}}`), everything())
			if slices.Contains(refused, kind) {
				want := []string{`PAYLOAD in backend "default" must be json: the messages of ` + string(kind) + ` have no attributes for the rest`}
				if m := mistakes(err); !slices.Equal(m, want) {
					t.Errorf("%s: got %q, want %q", kind, m, want)
				}
			} else if err != nil || got.Backends[0].Payload != payload {
				t.Errorf("%s: %s is refused: %v", kind, payload, err)
			}
		}
	}
}

func TestPriorityQueuesAreReadByQueueAndThreshold(t *testing.T) {
	got, err := settings.ParseTasks(one(`{"BACKEND":"SQSBackend","QUEUES":["emails","other"],"OPTIONS":{"AWS_DEFAULT_QUEUE_NAME":"z",
		"PRIORITY_QUEUES":{"emails":{"-100":"emails-low","10":"emails-high"},"z":{"1":"z-high"},"other":{}}}}`), everything())
	want := map[string]map[int]string{"emails": {-100: "emails-low", 10: "emails-high"}, "z": {1: "z-high"}, "other": {}}
	if err != nil || !reflect.DeepEqual(got.Backends[0].PriorityQueues, want) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, options := range []string{`{"PRIORITY_QUEUES":null}`, `{}`} {
		got, err := settings.ParseTasks(one(`{"BACKEND":"SQSBackend","OPTIONS":`+options+`}`), everything())
		if err != nil || len(got.Backends[0].PriorityQueues) > 0 {
			t.Errorf("%s: got %v, %v", options, got, err)
		}
	}
}

// Each name that the settings give a queue is held against the naming rules of
// the backend's target, and each mistake says which setting holds the name.
func TestEveryConfiguredQueueNameIsHeldAgainstTheTargetsRules(t *testing.T) {
	m := everything()
	m.Serves[settings.SQSBackend] = func(name string) string {
		if strings.Contains(name, "/") {
			return "must not have a slash"
		}
		return ""
	}
	_, err := settings.ParseTasks([]byte(`{
		"a":{"BACKEND":"SQSBackend","QUEUES":["good","x/1"],"OPTIONS":{"AWS_DEFAULT_QUEUE_NAME":"x/2","PRIORITY_QUEUES":{"good":{"5":"x/3","6":"fine"}}}},
		"b":{"BACKEND":"LocalBackend","QUEUES":["x/4"]}}`), m)
	want := []string{
		`the queue "x/1" in backend "a" must not have a slash; QUEUES names it`,
		`the queue "x/2" in backend "a" must not have a slash; AWS_DEFAULT_QUEUE_NAME names it`,
		`the queue "x/3" in backend "a" must not have a slash; PRIORITY_QUEUES names it`,
	}
	if got := mistakes(err); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
