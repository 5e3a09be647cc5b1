package lambdaworker

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/worker"
)

// event is what is read of an event. One that has no records is a message
// itself, as an asynchronous invocation or a schedule has it for its payload.
type event struct {
	TaskName string   `json:"task_name"`
	Records  []record `json:"Records"`
}

// record is a message in an event of SQS or of SNS, which spell the name of
// their source in different ways.
// https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
// https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html
type record struct {
	SQSSource  string                  `json:"eventSource"`
	SourceARN  string                  `json:"eventSourceARN"`
	MessageID  string                  `json:"messageId"`
	Body       string                  `json:"body"`
	Attributes map[string]string       `json:"attributes"`
	Given      map[string]sqsAttribute `json:"messageAttributes"`

	SNSSource string       `json:"EventSource"`
	SNS       notification `json:"Sns"`
}

type sqsAttribute struct {
	Type  string `json:"dataType"`
	Value string `json:"stringValue"`
}

// notification is a message as SNS wraps it: in its events, and in the bodies
// of the SQS messages of a subscription without raw message delivery.
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
type notification struct {
	TopicARN string                  `json:"TopicArn"`
	Message  string                  `json:"Message"`
	Given    map[string]snsAttribute `json:"MessageAttributes"`
}

// snsAttribute is as SNS delivers it, or as a request to send has it.
type snsAttribute struct {
	Type        string `json:"Type"`
	Value       string `json:"Value"`
	StringValue string `json:"StringValue"`
}

func (e *event) isSQS() bool { return len(e.Records) > 0 && e.Records[0].SQSSource == "aws:sqs" }
func (e *event) isSNS() bool { return len(e.Records) > 0 && e.Records[0].SNSSource == "aws:sns" }

// parse reads an event, and refuses what is not one that a worker can have.
func parse(payload []byte) (*event, error) {
	var e event
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnknown, err)
	}
	if !e.isSQS() && !e.isSNS() && e.TaskName == "" {
		return nil, errUnknown
	}
	return &e, nil
}

var errUnknown = errors.New("lambdaworker: the event is neither of SQS (Records with eventSource aws:sqs), nor of SNS " +
	"(Records with EventSource aws:sns), nor a task's message (with task_name), which Lambda's asynchronous invocations and schedules have")

// wrapped is a body that is not a task's message but has one in it. Each of
// these says of itself what it is, by members that no message has.
type wrapped struct {
	notification

	// What Lambda gave up on, in a failure destination.
	// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
	RequestPayload jsontext.Value `json:"requestPayload"`
	Context        struct {
		Condition string `json:"condition"`
	} `json:"requestContext"`

	// What the Scheduler gave up on, in its dead-letter queue: the request that
	// it was to make. That of sns:publish has a notification's TopicArn and Message.
	// https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html
	QueueURL    string `json:"QueueUrl"`
	MessageBody string `json:"MessageBody"`
}

// delivery takes a task's message out of what wraps it.
func (r record) delivery() worker.Delivery {
	d := worker.Delivery{Body: []byte(r.Body), Attributes: map[string]string{}}
	for name, a := range r.Given {
		d.Attributes[name] = a.Value
	}
	var w wrapped
	// What is not such an object is left for the worker to read, and to refuse.
	switch err := json.Unmarshal(d.Body, &w); {
	case err != nil:
	case w.TopicARN != "" && w.Message != "":
		return w.notification.delivery()
	case w.QueueURL != "" && w.MessageBody != "":
		n := w.notification
		n.Message = w.MessageBody
		return n.delivery()
	case w.Context.Condition != "" && w.RequestPayload.Kind() == '{':
		d.Body = w.RequestPayload
	}
	return d
}

func (n notification) delivery() worker.Delivery {
	d := worker.Delivery{Body: []byte(n.Message), Attributes: map[string]string{}}
	for name, a := range n.Given {
		d.Attributes[name] = cmp.Or(a.Value, a.StringValue)
		if a.Type != "Binary" {
			continue
		}
		if plain, err := base64.StdEncoding.DecodeString(a.Value); err == nil {
			d.Attributes[name] = string(plain)
		}
	}
	return d
}
