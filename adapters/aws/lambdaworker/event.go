package lambdaworker

import (
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
	Type     string                  `json:"Type"`
	TopicARN string                  `json:"TopicArn"`
	Message  string                  `json:"Message"`
	Given    map[string]snsAttribute `json:"MessageAttributes"`
}

type snsAttribute struct {
	Type  string `json:"Type"`
	Value string `json:"Value"`
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

// delivery undoes what wraps a task's message: SNS's envelope, and the one that
// Lambda puts around what it gave up on, for a failure destination.
func (r record) delivery() worker.Delivery {
	d := worker.Delivery{Body: []byte(r.Body), Attributes: map[string]string{}}
	for name, a := range r.Given {
		d.Attributes[name] = a.Value
	}
	var wrapped struct {
		notification
		// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
		RequestPayload jsontext.Value `json:"requestPayload"`
		Context        struct {
			Condition string `json:"condition"`
		} `json:"requestContext"`
	}
	// What is not such an object is left for the worker to read, and to refuse.
	switch err := json.Unmarshal(d.Body, &wrapped); {
	case err != nil:
	case wrapped.Type == "Notification" && wrapped.TopicARN != "":
		return wrapped.notification.delivery()
	case wrapped.Context.Condition != "" && wrapped.RequestPayload.Kind() == '{':
		d.Body = wrapped.RequestPayload
	}
	return d
}

func (n notification) delivery() worker.Delivery {
	d := worker.Delivery{Body: []byte(n.Message), Attributes: map[string]string{}}
	for name, a := range n.Given {
		d.Attributes[name] = a.Value
		if a.Type != "Binary" {
			continue
		}
		if plain, err := base64.StdEncoding.DecodeString(a.Value); err == nil {
			d.Attributes[name] = string(plain)
		}
	}
	return d
}
