package settings

import "strings"

// Kind is what a backend sends to: the last dotted part of its BACKEND.
type Kind string

// The kinds. Django's path to a class is matched by its last part alone, for
// the packages that it names differ between django-tasks-cloud's own documents.
const (
	SNSTopicBackend              Kind = "SNSTopicBackend"
	SQSBackend                   Kind = "SQSBackend"
	EventBridgeSchedulerBackend  Kind = "EventBridgeSchedulerBackend"
	LambdaAsyncInvocationBackend Kind = "LambdaAsyncInvocationBackend" // AWSLambdaBackend is another name for it
	ServiceBusQueueBackend       Kind = "ServiceBusQueueBackend"
	ServiceBusTopicBackend       Kind = "ServiceBusTopicBackend"
	StorageAccountQueueBackend   Kind = "StorageAccountQueueBackend"
	LocalBackend                 Kind = "LocalBackend" // taskgate's own: its embedded queue
)

// description is what there is to know of a backend by its name.
type description struct {
	name        string // the last part of BACKEND
	kind        Kind
	product     string // who serves it, for people
	main        string // and that one's directory
	queueOption string // the option that names the default queue
	attributes  bool   // its messages have room beside the body, so PAYLOAD may be plain
	options     func() Options
}

func descriptions() []description {
	const (
		aws, awsMain     = "taskgate for AWS", "functions/aws"
		azure, azureMain = "taskgate for Azure", "functions/azure"
		local, localMain = "the local taskgate", "functions/local"
	)
	lambda := func() Options { return &LambdaOptions{} }
	return []description{
		{"SNSTopicBackend", SNSTopicBackend, aws, awsMain, "AWS_DEFAULT_TOPIC_NAME", true,
			func() Options { return &SNSOptions{} }},
		{"SQSBackend", SQSBackend, aws, awsMain, "AWS_DEFAULT_QUEUE_NAME", true,
			func() Options { return &SQSOptions{} }},
		{"EventBridgeSchedulerBackend", EventBridgeSchedulerBackend, aws, awsMain, "AWS_DEFAULT_SQS_QUEUE_NAME", true,
			func() Options { return &EventBridgeSchedulerOptions{} }},
		{"LambdaAsyncInvocationBackend", LambdaAsyncInvocationBackend, aws, awsMain, "AWS_DEFAULT_LAMBDA_FUNCTION_NAME", false, lambda},
		{"AWSLambdaBackend", LambdaAsyncInvocationBackend, aws, awsMain, "AWS_DEFAULT_LAMBDA_FUNCTION_NAME", false, lambda},
		{"ServiceBusQueueBackend", ServiceBusQueueBackend, azure, azureMain, "SERVICEBUS_DEFAULT_QUEUE_NAME", true,
			func() Options { return &ServiceBusOptions{UseConnectionString: true} }},
		{"ServiceBusTopicBackend", ServiceBusTopicBackend, azure, azureMain, "SERVICEBUS_DEFAULT_TOPIC_NAME", true,
			func() Options { return &ServiceBusOptions{UseConnectionString: true} }},
		{"StorageAccountQueueBackend", StorageAccountQueueBackend, azure, azureMain, "STORAGE_ACCOUNT_QUEUE_DEFAULT_QUEUE_NAME", false,
			func() Options { return &StorageQueueOptions{UseConnectionString: true} }},
		{"LocalBackend", LocalBackend, local, localMain, "LOCAL_DEFAULT_QUEUE_NAME", true,
			func() Options { return &LocalOptions{MaxDeliveries: defaultMaxDeliveries} }},
	}
}

// describe finds the description for a BACKEND, or says what is wrong with it.
func describe(path string) (d description, wrong string) {
	last := path[strings.LastIndexByte(path, '.')+1:]
	var names []string
	for _, d := range descriptions() {
		if d.name == last {
			return d, ""
		}
		names = append(names, d.name)
	}
	if hint := didYouMean(last, names); hint != "" {
		return description{}, hint
	}
	return description{}, "; the last part of BACKEND must be " + oneOf(names)
}
