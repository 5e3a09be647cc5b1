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

// event is the part of an event that is read. One without records is a message
// itself: the payload of an asynchronous invocation or a schedule.
type event struct {
	Records []record `json:"Records"`
}

// record is a message in an event of SQS or of SNS, which spell the name of
// their source differently.
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

// parse reads an event, and refuses what no worker can have.
func parse(payload []byte) (*event, error) {
	var e event
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnknown, err)
	}
	return &e, nil
}

var errUnknown = errors.New("lambdaworker: the event is neither from SQS (Records with eventSource aws:sqs), nor from SNS " +
	"(Records with EventSource aws:sns), nor a task's message (with task_name), as asynchronous invocations and schedules have it, nor a failure record of Lambda with one of these")

// envelope is a body that has a task's message in it. Each kind of envelope has
// members of its own, which no message has.
type envelope struct {
	notification

	// An event of SNS, as the body of what Lambda gave up on: in the function's
	// dead-letter queue, or within a failure record.
	Records []record `json:"Records"`

	// A failure record, which Lambda sends to a failure destination.
	// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
	RequestPayload jsontext.Value `json:"requestPayload"`
	Context        struct {
		Condition string `json:"condition"`
	} `json:"requestContext"`

	// A failure record that came by EventBridge.
	// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
	DetailType string         `json:"detail-type"`
	Detail     jsontext.Value `json:"detail"`

	// A request that the Scheduler gave up on, in its dead-letter queue. That of
	// sns:publish has the TopicArn and the Message of a notification.
	// https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html
	QueueURL    string `json:"QueueUrl"`
	MessageBody string `json:"MessageBody"`
}

// maxEnvelopes is how many envelopes a message may be in. The longest way that is
// known has five: a function that SNS triggers fails, its destination is an event
// bus, and the bus leads to a queue by way of two topics.
const maxEnvelopes = 10

// succeeded is the condition of a record for a success destination.
const succeeded = "Success"

// unwrap takes a task's message out of its envelopes. The attributes are those of
// the innermost envelope that has some. Failed reports that one of the envelopes
// is a failure record: Lambda will not deliver the message again.
func unwrap(d worker.Delivery) (message worker.Delivery, failed bool) {
	for range maxEnvelopes {
		var e envelope
		// The worker refuses what is no message, and so what is no JSON too.
		if json.Unmarshal(d.Body, &e) != nil {
			return d, failed
		}
		switch {
		case len(e.Records) == 1 && e.Records[0].SNSSource == "aws:sns":
			d = e.Records[0].SNS.delivery()
		case e.TopicARN != "" && e.Message != "":
			d = e.notification.delivery()
		case e.QueueURL != "" && e.MessageBody != "":
			e.Message = e.MessageBody
			d = e.notification.delivery()
		case e.Context.Condition != "" && e.Context.Condition != succeeded && e.RequestPayload.Kind() == '{':
			d.Body, failed = e.RequestPayload, true
		case e.DetailType != "" && e.Detail.Kind() == '{':
			d.Body = e.Detail
		default:
			return d, failed
		}
	}
	return d, failed
}

// delivery is the message of an SQS record as it was sent.
func (r record) delivery() worker.Delivery {
	d := worker.Delivery{Body: []byte(r.Body), Attributes: make(map[string]string, len(r.Given))}
	for name, a := range r.Given {
		d.Attributes[name] = a.Value
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
