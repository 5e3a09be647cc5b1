package settings

import "strings"

// Kind is the kind of a backend: the last dotted part of its BACKEND.
type Kind string

// The kinds. Only the last part of Django's path to a class counts: the
// documents of django-tasks-cloud name different packages for one class.
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

// description describes the backends of one name.
type description struct {
	name        string // the last part of BACKEND
	kind        Kind
	product     string         // the program that serves it, in words
	main        string         // and the directory of its main; "" = no program of taskgate serves it
	queueOption string         // the option that names the default queue
	attributes  bool           // its messages have attributes, so PAYLOAD may leave the envelope out of the body
	options     func() Options // nil = no program of taskgate serves it
}

func descriptions() []description {
	const (
		aws, awsMain     = "taskgate for AWS", "functions/aws"
		azure, azureMain = "taskgate for Azure", "functions/azure"
		local, localMain = "the local taskgate", "functions/local"
		django           = "Django itself"
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
		// Of Django and its packages: https://docs.djangoproject.com/en/stable/ref/tasks/
		// and https://pypi.org/project/django-tasks/
		{name: "ImmediateBackend", product: django},
		{name: "DummyBackend", product: django},
		{name: "DatabaseBackend", product: django},
		{name: "RQBackend", product: django},
	}
}

// describe finds the description for a BACKEND, or returns a hint.
func describe(path string) (d description, hint string) {
	last := path[strings.LastIndexByte(path, '.')+1:]
	var names []string
	for _, d := range descriptions() {
		if d.name == last {
			return d, ""
		}
		if d.options != nil {
			names = append(names, d.name)
		}
	}
	if hint := didYouMean(last, names); hint != "" {
		return description{}, hint
	}
	return description{}, "; the last part of BACKEND must be " + oneOf(names)
}

// passesOver returns why the main does not serve a backend, or "".
func (m Main) passesOver(d description) (why string) {
	if _, served := m.Serves[d.kind]; served || m.Serves == nil && d.options != nil {
		return ""
	}
	switch d.main {
	case "":
		return d.name + " is served by " + d.product + ", not by taskgate"
	case m.Name:
		return "this build of " + m.Name + " leaves out " + d.name
	}
	return d.name + " is served by " + d.product + " (" + d.main + "), and this is " + m.Name
}
