package sqsdispatch

import (
	"bytes"
	"cmp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/core/task"
)

// attributeRoom is what the three attributes of every task may have together,
// their names and types included: a task's name alone may have 1,020 bytes.
const attributeRoom = 1280

// message builds what the SDK sends. Delays are whole seconds, and a message
// must not come early.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
func message(m task.Outgoing, known queue, delay time.Duration) (*sqs.SendMessageInput, error) {
	in, err := timeless(m, known)
	if err != nil {
		return nil, err
	}
	if seconds := (delay + time.Second - 1) / time.Second; seconds > 0 {
		if isFIFO(m.Queue) {
			return nil, task.Errorf(task.MessageRejected, "the FIFO queue %s cannot delay a message", m.Queue)
		}
		if delay > MaxDelay {
			return nil, task.Errorf(task.MessageRejected, "the queue %s delays a message by %d seconds at most", m.Queue, MaxDelay/time.Second)
		}
		in.DelaySeconds = int32(seconds)
	}
	return in, nil
}

// timeless builds the message without its delay.
func timeless(m task.Outgoing, known queue) (*sqs.SendMessageInput, error) {
	if int64(len(m.Body)) > known.maxBody() {
		return nil, task.Errorf(task.MessageTooLarge, "the message has %d bytes, and the queue %s takes %d", len(m.Body), m.Queue, known.maxBody())
	}
	in := &sqs.SendMessageInput{
		QueueUrl:          &known.url,
		MessageBody:       aws.String(string(escape(m.Body))),
		MessageAttributes: make(map[string]types.MessageAttributeValue, len(m.Attributes)),
	}
	dataType := "String"
	for name, value := range m.Attributes {
		if name == task.AttributeEnvelope {
			value = string(escape([]byte(value)))
		}
		in.MessageAttributes[name] = types.MessageAttributeValue{DataType: &dataType, StringValue: &value}
	}
	if n := size(in); n > known.maxBytes() {
		return nil, task.Errorf(task.MessageTooLarge, "the message has %d bytes with its attributes, and the queue %s takes %d", n, m.Queue, known.maxBytes())
	}
	switch {
	case isFIFO(m.Queue):
		in.MessageDeduplicationId = aws.String(m.ID)
		in.MessageGroupId = aws.String(cmp.Or(m.Group, m.ID))
	case m.Group != "":
		return nil, task.Errorf(task.MessageRejected, "the queue %s has no groups", m.Queue)
	}
	return in, nil
}

// scheduled builds the request that the Scheduler makes of the same message.
func scheduled(m task.Outgoing, known queue) ([]byte, error) {
	m.Body = bytes.ReplaceAll(m.Body, []byte("<"), []byte(`\u003c`)) // or keywords in it would be replaced
	in, err := timeless(m, known)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(struct {
		QueueURL               string `json:"QueueUrl"`
		MessageBody            string
		MessageAttributes      map[string]types.MessageAttributeValue
		MessageGroupID         *string `json:"MessageGroupId,omitempty"`
		MessageDeduplicationID *string `json:"MessageDeduplicationId,omitempty"`
	}{known.url, *in.MessageBody, in.MessageAttributes, in.MessageGroupId, in.MessageDeduplicationId},
		json.Deterministic(true), json.OmitZeroStructFields(true)) // what a text attribute does not have
	if err != nil {
		return nil, &task.Error{Kind: task.MessageRejected, Msg: "the message cannot be scheduled", Err: err, TaskID: m.ID}
	}
	return data, nil
}

// escape writes the two characters that JSON allows in a text and SQS in no
// message, and that stand in strings alone, as JSON's escapes.
func escape(text []byte) []byte {
	if bytes.Contains(text, []byte("\xef\xbf\xbe")) {
		text = bytes.ReplaceAll(text, []byte("\xef\xbf\xbe"), []byte(`\ufffe`))
	}
	if bytes.Contains(text, []byte("\xef\xbf\xbf")) {
		text = bytes.ReplaceAll(text, []byte("\xef\xbf\xbf"), []byte(`\uffff`))
	}
	return text
}

// size counts as SQS does: the body, and of each attribute its name, type and
// value.
func size(in *sqs.SendMessageInput) int64 {
	n := len(*in.MessageBody)
	for name, a := range in.MessageAttributes {
		n += len(name) + len(*a.DataType) + len(*a.StringValue)
	}
	return int64(n)
}
