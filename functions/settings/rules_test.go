package settings_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/functions/settings"
)

// Each row breaks one rule, and exactly one sentence says so.
func TestEveryBrokenRuleIsNamed(t *testing.T) {
	const (
		sqs   = `{"BACKEND":"SQSBackend","OPTIONS":{`
		sns   = `{"BACKEND":"SNSTopicBackend","OPTIONS":{`
		sched = `{"BACKEND":"EventBridgeSchedulerBackend","OPTIONS":{`
		fn    = `{"BACKEND":"AWSLambdaBackend","OPTIONS":{`
		bus   = `{"BACKEND":"ServiceBusQueueBackend","OPTIONS":{`
		topic = `{"BACKEND":"ServiceBusTopicBackend","OPTIONS":{`
		store = `{"BACKEND":"StorageAccountQueueBackend","OPTIONS":{`
		local = `{"BACKEND":"taskgate.LocalBackend","OPTIONS":{`
		roled = `"EVENTBRIDGE_SCHEDULER_ROLE_ARN":"` + role + `",`

		in           = ` in backend "default" `
		badRole      = `EVENTBRIDGE_SCHEDULER_ROLE_ARN` + in + `must be the ARN of a role, such as arn:aws:iam::123456789012:role/name`
		badDLQ       = `EVENTBRIDGE_SCHEDULER_DLQ_ARN` + in + `must be the ARN of an SQS queue, such as arn:aws:sqs:eu-west-1:123456789012:name`
		badGroup     = `EVENTBRIDGE_SCHEDULER_GROUP_NAME` + in + `must have 1 to 64 characters: letters, digits and any of . _ -`
		badPrefix    = `AWS_SNS_ARN_PREFIX` + in + `must be the ARN of a topic without the topic's name, such as arn:aws:sns:eu-west-1:123456789012: with its last colon`
		badRegion    = `AWS_REGION` + in + `must be the name of a region, such as eu-west-1`
		badBus       = `SERVICEBUS_CONNECTION_STRING` + in + `must have Endpoint and SharedAccessKeyName and SharedAccessKey or Endpoint and SharedAccessSignature`
		badStore     = `STORAGE_ACCOUNT_CONNECTION_STRING` + in + `must have AccountName and AccountKey, AccountName and SharedAccessSignature or QueueEndpoint and SharedAccessSignature`
		badHost      = `SERVICEBUS_NAMESPACE_FQDN` + in + `must be the full host name of a namespace, without scheme and path, such as name.servicebus.windows.net`
		badURL       = `STORAGE_ACCOUNT_URL` + in + `must be the URL of a queue service, without user, query and fragment, such as https://name.queue.core.windows.net`
		loaderNames  = `must be default, managed_identity, workload_identity, azure_cli, environment or mine`
		badThreshold = `must have a priority as its name: a whole number from -100 to 100 such as "10", but not 0, which is the priority of the named queue itself`
		deliveries   = `LOCAL_MAX_DELIVERIES` + in + `must be from 1 to 1000`
	)
	tests := []struct{ backend, want string }{
		{`[]`, `backend "default" must be an object`},
		{`null`, `backend "default" must be an object`},
		{`{}`, `BACKEND` + in + `is required`},
		{`{"BACKEND":null}`, `BACKEND` + in + `is required`},
		{`{"BACKEND":""}`, `BACKEND` + in + `is required`},
		{`{"BACKEND":7}`, `BACKEND` + in + `must be a string`},
		{`{"BACKEND":"a.SQSBackends"}`, `BACKEND in backend "default" is "a.SQSBackends", which is an unknown backend; did you mean SQSBackend?`},
		{`{"BACKEND":"a.SQSBackend.b"}`, `BACKEND in backend "default" is "a.SQSBackend.b", which is an unknown backend; the last part of BACKEND must be SNSTopicBackend, SQSBackend, EventBridgeSchedulerBackend, LambdaAsyncInvocationBackend, AWSLambdaBackend, ServiceBusQueueBackend, ServiceBusTopicBackend, StorageAccountQueueBackend or LocalBackend`},
		{`{"BACKEND":"SQSBackend","QUEUE":["a"]}`, `QUEUE in backend "default" is an unknown key; did you mean QUEUES?`},
		{`{"BACKEND":"SQSBackend","queues":["a"]}`, `queues in backend "default" is an unknown key; did you mean QUEUES?`},
		{`{"BACKEND":"SQSBackend","AWS_REGION":"eu-west-1"}`, `AWS_REGION in backend "default" is an unknown key; it belongs in OPTIONS`},
		{`{"BACKEND":"SQSBackend","QUEUES":"a"}`, `QUEUES` + in + `must be an array`},
		{`{"BACKEND":"SQSBackend","QUEUES":["a",7]}`, `QUEUES/1` + in + `must be a string`},
		{`{"BACKEND":"SQSBackend","QUEUES":[""]}`, `QUEUES/0` + in + `must have at least 1 character`},
		{`{"BACKEND":"SQSBackend","QUEUES":["a\nb"]}`, `QUEUES/0` + in + `must not contain control characters`},
		{`{"BACKEND":"SQSBackend","OPTIONS":[]}`, `OPTIONS` + in + `must be an object`},
		{`{"BACKEND":"SNSTopicBackend","OPTIONS":[]}`, `OPTIONS` + in + `must be an object`},

		{sqs + `"AWS_REGIONS":"eu-west-1"}}`, `AWS_REGIONS in backend "default" is an unknown option of SQSBackend; did you mean AWS_REGION?`},
		{sqs + `"aws_region":"eu-west-1"}}`, `aws_region in backend "default" is an unknown option of SQSBackend; did you mean AWS_REGION?`},
		{sqs + `"AWS_QUEUE_NAME":"a"}}`, `AWS_QUEUE_NAME in backend "default" is an unknown option of SQSBackend; did you mean AWS_DEFAULT_QUEUE_NAME?`},
		{sqs + `"SERVICEBUS_CONNECTION_STRING":""}}`, `SERVICEBUS_CONNECTION_STRING in backend "default" is an unknown option of SQSBackend`},
		{sqs + `"AWS_DEFAULT_QUEUE_NAME":["a"]}}`, `AWS_DEFAULT_QUEUE_NAME` + in + `must be a string`},
		{sqs + `"AWS_DEFAULT_QUEUE_NAME":"` + strings.Repeat("q", 256) + `"}}`, `AWS_DEFAULT_QUEUE_NAME` + in + `must have at most 255 characters`},
		{sqs + `"AWS_REGION":1}}`, `AWS_REGION` + in + `must be a string`},
		{sqs + `"AWS_REGION":"eu_west_1"}}`, badRegion},
		{sqs + `"AWS_REGION":"EU-WEST-1"}}`, badRegion},
		{sqs + `"PAYLOAD":"Plain"}}`, `PAYLOAD` + in + `must be json, plain or django-tasks-cloud`},
		{sqs + `"PAYLOAD":true}}`, `PAYLOAD` + in + `must be a string`},
		{sqs + `"EVENTBRIDGE_SCHEDULER_GROUP_NAME":"g"}}`, `EVENTBRIDGE_SCHEDULER_GROUP_NAME` + in + `needs EVENTBRIDGE_SCHEDULER_ROLE_ARN`},
		{fn + `"EVENTBRIDGE_SCHEDULER_DLQ_ARN":"arn:aws:sqs:eu-west-1:123456789012:q"}}`, `EVENTBRIDGE_SCHEDULER_DLQ_ARN` + in + `needs EVENTBRIDGE_SCHEDULER_ROLE_ARN`},
		{sqs + `"EVENTBRIDGE_SCHEDULER_ROLE_ARN":"scheduler"}}`, badRole},
		{sqs + `"EVENTBRIDGE_SCHEDULER_ROLE_ARN":"arn:aws:iam::123456789012:user/me"}}`, badRole},
		{sqs + `"EVENTBRIDGE_SCHEDULER_ROLE_ARN":"arn:aws:iam:eu-west-1:123456789012:role/me"}}`, badRole},
		{sqs + `"EVENTBRIDGE_SCHEDULER_ROLE_ARN":"arn:aws:iam::12345678901:role/me"}}`, badRole},
		{sqs + `"EVENTBRIDGE_SCHEDULER_ROLE_ARN":"arn:aws:iam::123456789012:role/"}}`, badRole},
		{sqs + `"EVENTBRIDGE_SCHEDULER_ROLE_ARN":"arn:azure:iam::123456789012:role/me"}}`, badRole},
		{sqs + `"EVENTBRIDGE_SCHEDULER_ROLE_ARN":"arn:aws:iam::123456789012:role/me "}}`, badRole},
		{sqs + roled + `"EVENTBRIDGE_SCHEDULER_GROUP_NAME":"a b"}}`, badGroup},
		{sqs + roled + `"EVENTBRIDGE_SCHEDULER_GROUP_NAME":"` + strings.Repeat("g", 65) + `"}}`, badGroup},
		{sns + `"AWS_SNS_ARN_PREFIX":"arn:aws:sns:eu-west-1:123456789012:",` + roled + `"EVENTBRIDGE_SCHEDULER_DLQ_ARN":"arn:aws:sns:eu-west-1:123456789012:q"}}`, badDLQ},
		{fn + roled + `"EVENTBRIDGE_SCHEDULER_DLQ_ARN":"https://sqs.eu-west-1.amazonaws.com/123456789012/q"}}`, badDLQ},
		{sched + roled + `"EVENTBRIDGE_SCHEDULER_DLQ_ARN":"arn:aws:sqs:eu-west-1:123456789012:"}}`, badDLQ},
		{sched + `"AWS_DEFAULT_SQS_QUEUE_NAME":"a"}}`, `EVENTBRIDGE_SCHEDULER_ROLE_ARN` + in + `is required`},
		{sched + `"EVENTBRIDGE_SCHEDULER_ROLE_ARN":""}}`, `EVENTBRIDGE_SCHEDULER_ROLE_ARN` + in + `is required`},
		{sched + `"EVENTBRIDGE_SCHEDULER_ROLE_ARN":1}}`, `EVENTBRIDGE_SCHEDULER_ROLE_ARN` + in + `must be a string`},
		{sns + `"AWS_DEFAULT_TOPIC_NAME":"a"}}`, `AWS_SNS_ARN_PREFIX` + in + `is required`},
		{sns + `"AWS_SNS_ARN_PREFIX":"arn:aws:sns:eu-west-1:123456789012"}}`, badPrefix},
		{sns + `"AWS_SNS_ARN_PREFIX":"arn:aws:sns:eu-west-1:123456789012:topic"}}`, badPrefix},
		{sns + `"AWS_SNS_ARN_PREFIX":"arn:aws:sqs:eu-west-1:123456789012:"}}`, badPrefix},
		{sns + `"AWS_SNS_ARN_PREFIX":"arn:aws:sns::123456789012:"}}`, badPrefix},
		{sns + `"AWS_REGION":"eu-west-1","AWS_SNS_ARN_PREFIX":"arn:aws:sns:eu-west-2:123456789012:"}}`, `AWS_SNS_ARN_PREFIX` + in + `is in the region eu-west-2, but the backend is in eu-west-1, which AWS_REGION says`},
		{fn + `"AWS_DEFAULT_LAMBDA_NAME":"a"}}`, `AWS_DEFAULT_LAMBDA_NAME in backend "default" is an unknown option of AWSLambdaBackend; did you mean AWS_DEFAULT_LAMBDA_FUNCTION_NAME?`},

		{bus + `"SERVICEBUS_DEFAULT_QUEUE_NAME":"a"}}`, `SERVICEBUS_CONNECTION_STRING` + in + `is required unless SERVICEBUS_USE_CONNECTION_STRING is false`},
		{topic + `"SERVICEBUS_DEFAULT_QUEUE_NAME":"a","SERVICEBUS_CONNECTION_STRING":"` + serviceBus + `"}}`, `SERVICEBUS_DEFAULT_QUEUE_NAME in backend "default" is an unknown option of ServiceBusTopicBackend; did you mean SERVICEBUS_DEFAULT_TOPIC_NAME?`},
		{bus + `"SERVICEBUS_USE_CONNECTION_STRING":"true"}}`, `SERVICEBUS_USE_CONNECTION_STRING` + in + `must be true or false`},
		{bus + `"SERVICEBUS_USE_CONNECTION_STRING":0}}`, `SERVICEBUS_USE_CONNECTION_STRING` + in + `must be true or false`},
		{bus + `"SERVICEBUS_CONNECTION_STRING":"hush"}}`, `SERVICEBUS_CONNECTION_STRING` + in + `must be key=value pairs separated by semicolons`},
		{bus + `"SERVICEBUS_CONNECTION_STRING":"Endpoint=sb://hush"}}`, badBus},
		{bus + `"SERVICEBUS_CONNECTION_STRING":"SharedAccessKeyName=hush;SharedAccessKey=hush"}}`, badBus},
		{topic + `"SERVICEBUS_USE_CONNECTION_STRING":false}}`, `SERVICEBUS_NAMESPACE_FQDN` + in + `is required when SERVICEBUS_USE_CONNECTION_STRING is false`},
		{topic + `"SERVICEBUS_USE_CONNECTION_STRING":false,"SERVICEBUS_NAMESPACE_FQDN":"sb://ns.servicebus.windows.net"}}`, badHost},
		{topic + `"SERVICEBUS_USE_CONNECTION_STRING":false,"SERVICEBUS_NAMESPACE_FQDN":"ns.servicebus.windows.net/"}}`, badHost},
		{topic + `"SERVICEBUS_USE_CONNECTION_STRING":false,"SERVICEBUS_NAMESPACE_FQDN":"ns.example","SERVICEBUS_CREDENTIAL_LOADER":"managed_identiy"}}`,
			`SERVICEBUS_CREDENTIAL_LOADER` + in + loaderNames + `; did you mean managed_identity?`},

		{bus + `"SERVICEBUS_CONNECTION_STRING":"Endpoint=sb://x;SharedAccessKeyName=a;SharedAccessKey=b","SERVICEBUS_MAX_DELIVERY_COUNT":0}}`, `SERVICEBUS_MAX_DELIVERY_COUNT` + in + `must be from 1 to 2000`},
		{store + `"STORAGE_ACCOUNT_USE_CONNECTION_STRING":true}}`, `STORAGE_ACCOUNT_CONNECTION_STRING` + in + `is required unless STORAGE_ACCOUNT_USE_CONNECTION_STRING is false`},
		{store + `"STORAGE_ACCOUNT_USE_CONNECTION_STRING":"no"}}`, `STORAGE_ACCOUNT_USE_CONNECTION_STRING` + in + `must be true or false`},
		{store + `"STORAGE_ACCOUNT_CONNECTION_STRING":"UseDevelopmentStorage=true"}}`, badStore},
		{store + `"STORAGE_ACCOUNT_CONNECTION_STRING":"AccountName=a;AccountKey="}}`, badStore},
		{store + `"STORAGE_ACCOUNT_USE_CONNECTION_STRING":false}}`, `STORAGE_ACCOUNT_URL` + in + `is required when STORAGE_ACCOUNT_USE_CONNECTION_STRING is false`},
		{store + `"STORAGE_ACCOUNT_USE_CONNECTION_STRING":false,"STORAGE_ACCOUNT_URL":"a.queue.core.windows.net"}}`, badURL},
		{store + `"STORAGE_ACCOUNT_USE_CONNECTION_STRING":false,"STORAGE_ACCOUNT_URL":"https://a.queue.core.windows.net?sig=hush"}}`, badURL},
		{store + `"STORAGE_ACCOUNT_USE_CONNECTION_STRING":false,"STORAGE_ACCOUNT_URL":"https://a","STORAGE_ACCOUNT_CREDENTIAL_LOADER":"x"}}`,
			`STORAGE_ACCOUNT_CREDENTIAL_LOADER` + in + loaderNames},

		{local + `"LOCAL_MAX_DELIVERIES":0}}`, deliveries},
		{local + `"LOCAL_MAX_DELIVERIES":1001}}`, deliveries},
		{local + `"LOCAL_MAX_DELIVERIES":1.5}}`, `LOCAL_MAX_DELIVERIES` + in + `must be an integer`},
		{local + `"LOCAL_MAX_DELIVERIES":"20"}}`, `LOCAL_MAX_DELIVERIES` + in + `must be a number`},
		{local + `"LOCAL_DEFAULT_QUEUE":"a"}}`, `LOCAL_DEFAULT_QUEUE in backend "default" is an unknown option of LocalBackend; did you mean LOCAL_DEFAULT_QUEUE_NAME?`},

		// What AWS documents as impossible.
		{sqs + `"AWS_REGION":"eu-west-1a"}}`, badRegion},
		{sqs + `"AWS_REGION":"eu-west"}}`, badRegion},
		{sqs + `"AWS_REGION":"eu--1"}}`, badRegion},
		{sqs + `"AWS_REGION":"eu-west-١"}}`, badRegion},
		{sqs + `"EVENTBRIDGE_SCHEDULER_ROLE_ARN":"arn:aws:sts::123456789012:assumed-role/me/session"}}`, badRole},
		{sqs + `"EVENTBRIDGE_SCHEDULER_ROLE_ARN":"arn:aws:iam::123456789012:role/` + strings.Repeat("r", 65) + `"}}`, badRole},
		{sqs + `"EVENTBRIDGE_SCHEDULER_ROLE_ARN":"arn:aws:iam::123456789012:role/a*"}}`, badRole},
		{sqs + roled + `"EVENTBRIDGE_SCHEDULER_DLQ_ARN":"arn:aws:sqs:eu-west-1:123456789012:dlq.fifo"}}`, `EVENTBRIDGE_SCHEDULER_DLQ_ARN` + in + `must be a standard queue: the Scheduler does not support FIFO queues as dead-letter queues`},
		{fn + roled + `"EVENTBRIDGE_SCHEDULER_DLQ_ARN":"arn:aws:sqs:eu-west-1:123456789012:a/b"}}`, `EVENTBRIDGE_SCHEDULER_DLQ_ARN` + in + `must end with the name of a queue: 1 to 80 letters, digits, - and _`},
		{sqs + roled + `"AWS_REGION":"eu-west-1","EVENTBRIDGE_SCHEDULER_DLQ_ARN":"arn:aws:sqs:eu-west-2:123456789012:q"}}`, `EVENTBRIDGE_SCHEDULER_DLQ_ARN` + in + `is in the region eu-west-2, but the backend is in eu-west-1, which AWS_REGION says`},
		{sqs + roled + `"EVENTBRIDGE_SCHEDULER_DLQ_ARN":"arn:aws:sqs:cn-north-1:123456789012:q"}}`, `EVENTBRIDGE_SCHEDULER_DLQ_ARN` + in + `has the partition aws, but the partition of cn-north-1 is aws-cn`},
		{sqs + roled + `"AWS_REGION":"us-gov-west-1"}}`, `EVENTBRIDGE_SCHEDULER_ROLE_ARN` + in + `has the partition aws, but the partition of us-gov-west-1 is aws-us-gov`},
		{sns + `"AWS_SNS_ARN_PREFIX":"arn:aws:sns:cn-north-1:123456789012:"}}`, `AWS_SNS_ARN_PREFIX` + in + `has the partition aws, but the partition of cn-north-1 is aws-cn`},
		{sns + `"AWS_SNS_ARN_PREFIX":"arn:aws-cn:sns:eu-west-1:123456789012:"}}`, `AWS_SNS_ARN_PREFIX` + in + `has the partition aws-cn, but the partition of eu-west-1 is aws`},

		// What Azure documents as impossible.
		{topic + `"SERVICEBUS_USE_CONNECTION_STRING":false,"SERVICEBUS_NAMESPACE_FQDN":"ns"}}`, badHost},
		{topic + `"SERVICEBUS_USE_CONNECTION_STRING":false,"SERVICEBUS_NAMESPACE_FQDN":"ns.servicebus.windows.net:5671"}}`, badHost},
		{topic + `"SERVICEBUS_USE_CONNECTION_STRING":false,"SERVICEBUS_NAMESPACE_FQDN":"a.queue.core.windows.net"}}`, `SERVICEBUS_NAMESPACE_FQDN` + in + `must name the host of a Service Bus namespace, such as name.servicebus.windows.net, but names one of another service`},
		{bus + `"SERVICEBUS_CONNECTION_STRING":"Endpoint=sb://a.documents.azure.com/;SharedAccessKeyName=a;SharedAccessKey=b"}}`, `SERVICEBUS_CONNECTION_STRING` + in + `must name the host of a Service Bus namespace, such as name.servicebus.windows.net, but names one of another service`},

		// References that nothing has resolved, in secrets and beside them.
		{bus + `"SERVICEBUS_CONNECTION_STRING":"@Microsoft.KeyVault(VaultName=v;SecretName=hush)"}}`, `SERVICEBUS_CONNECTION_STRING` + in + unresolved("@Microsoft.…(…)")},
		{bus + `"SERVICEBUS_CONNECTION_STRING":"Endpoint=sb://x;SharedAccessKeyName=a;SharedAccessKey=${KEY}"}}`, `SERVICEBUS_CONNECTION_STRING` + in + unresolved("${…}")},
		{store + `"STORAGE_ACCOUNT_CONNECTION_STRING":"{{resolve:secretsmanager:hush}}"}}`, `STORAGE_ACCOUNT_CONNECTION_STRING` + in + unresolved("{{resolve:…}}")},
		{store + `"STORAGE_ACCOUNT_CONNECTION_STRING":"arn:aws:secretsmanager:eu-west-1:123456789012:secret:hush"}}`, `STORAGE_ACCOUNT_CONNECTION_STRING` + in + unresolved("arn:…")},
		{sqs + `"AWS_DEFAULT_QUEUE_NAME":"$(QUEUE)"}}`, `AWS_DEFAULT_QUEUE_NAME` + in + unresolved("$(…)")},

		{sqs + `"PRIORITY_QUEUES":[]}}`, `PRIORITY_QUEUES` + in + `must be an object`},
		{sqs + `"PRIORITY_QUEUES":{"default":["a"]}}}`, `PRIORITY_QUEUES/default` + in + `must be an object`},
		{sqs + `"PRIORITY_QUEUES":{"default":{"1":2}}}}`, `PRIORITY_QUEUES/default/1` + in + `must be a string`},
		{sqs + `"PRIORITY_QUEUES":{"default":{"0":"a"}}}}`, `PRIORITY_QUEUES/default/0` + in + badThreshold},
		{sqs + `"PRIORITY_QUEUES":{"default":{"101":"a"}}}}`, `PRIORITY_QUEUES/default/101` + in + badThreshold},
		{sqs + `"PRIORITY_QUEUES":{"default":{"+1":"a"}}}}`, `PRIORITY_QUEUES/default/+1` + in + badThreshold},
		{sqs + `"PRIORITY_QUEUES":{"default":{"01":"a"}}}}`, `PRIORITY_QUEUES/default/01` + in + badThreshold},
		{sqs + `"PRIORITY_QUEUES":{"default":{"1_0":"a"}}}}`, `PRIORITY_QUEUES/default/1_0` + in + badThreshold},
		{sqs + `"PRIORITY_QUEUES":{"default":{"١":"a"}}}}`, `PRIORITY_QUEUES/default/١` + in + badThreshold},
		{sqs + `"PRIORITY_QUEUES":{"emails":{"1":"a"}}}}`, `PRIORITY_QUEUES` + in + `has the queue "emails", which must be one of QUEUES or the default queue`},
		{local + `"PRIORITY_QUEUES":{"default":{"1":"a"}}}}`, `PRIORITY_QUEUES` + in + `must be left out: the embedded queue keeps priorities itself`},
	}
	for _, tt := range tests {
		_, err := settings.ParseTasks(one(tt.backend), everything())
		if got := mistakes(err); !slices.Equal(got, []string{tt.want}) {
			t.Errorf("%s\ngot  %q\nwant %q", tt.backend, got, tt.want)
		}
	}
}

// mistakes returns the lines of [settings.Errors].
func mistakes(err error) []string {
	var errs settings.Errors
	if errors.As(err, &errs) {
		return errs
	}
	if err != nil {
		return []string{"not an Errors: " + err.Error()}
	}
	return nil
}

func TestTasksAreStrictJSON(t *testing.T) {
	const unreadable = "TASKS is not valid JSON: "
	tests := []struct{ tasks, want string }{
		{``, "TASKS is empty"},
		{" \n", "TASKS is empty"},
		{`{}`, "TASKS has no backend for this main"},
		{`[]`, "TASKS must be an object"},
		{`{"default":{"BACKEND":"SQSBackend"}`, unreadable + "the JSON text ends too early"},
		{`{"a":{"BACKEND":"SQSBackend"},"a":{}}`, unreadable + `duplicate name at "/a"`},
		{`{"a":{"BACKEND":"SQSBackend"}} x`, unreadable + "there is data after the JSON text at byte 30"},
		{`{"":{"BACKEND":"SQSBackend"}}`, `backend "" must have an alias of 1 to 255 bytes`},
	}
	for _, tt := range tests {
		_, err := settings.ParseTasks([]byte(tt.tasks), everything())
		if got := mistakes(err); !slices.Equal(got, []string{tt.want}) {
			t.Errorf("%s\ngot  %q\nwant %q", tt.tasks, got, tt.want)
		}
	}
}

func TestAllMistakesInTasksAreReportedAtOnce(t *testing.T) {
	_, err := settings.ParseTasks([]byte(`{
		"a": {"BACKEND":"SNSTopicBackend","QUEUES":"q","EXTRA":1,"OPTIONS":{"AWS_REGON":"eu-west-1","AWS_DEFAULT_TOPIC_NAME":7,"PAYLOAD":"xml"}},
		"b": {"QUEUES":[1]},
		"c": {"BACKEND":"ServiceBusQueueBackend"}}`), everything())
	want := []string{
		`QUEUES in backend "a" must be an array`,
		`AWS_DEFAULT_TOPIC_NAME in backend "a" must be a string`,
		`AWS_REGON in backend "a" is an unknown option of SNSTopicBackend; did you mean AWS_REGION?`,
		`PAYLOAD in backend "a" must be json, plain or django-tasks-cloud`,
		`AWS_SNS_ARN_PREFIX in backend "a" is required`,
		`EXTRA in backend "a" is an unknown key`,
		`QUEUES/0 in backend "b" must be a string`,
		`BACKEND in backend "b" is required`,
		`SERVICEBUS_CONNECTION_STRING in backend "c" is required unless SERVICEBUS_USE_CONNECTION_STRING is false`,
	}
	if got := mistakes(err); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
