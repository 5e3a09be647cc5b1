package snsdispatch

import (
	"bytes"
	"cmp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/core/task"
)

// attributeRoom is what the three attributes of every task may have together,
// their names and types included: a task's name alone may have 1,020 bytes.
const attributeRoom = 1280

// maxBody leaves room for the attributes. A topic so small that they would have
// a large part of it counts them when it is sent to.
func maxBody(most int64) int64 { return most - min(attributeRoom, most/4) }

// message builds what the SDK publishes to a topic that takes so many bytes.
// https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
func message(m task.Outgoing, arn string, most int64) (*sns.PublishInput, error) {
	if int64(len(m.Body)) > maxBody(most) {
		return nil, task.Errorf(task.MessageTooLarge, "the message has %d bytes, and the topic %s takes %d", len(m.Body), m.Queue, maxBody(most))
	}
	in := &sns.PublishInput{
		TopicArn:          &arn,
		Message:           aws.String(string(escape(m.Body))),
		MessageAttributes: make(map[string]types.MessageAttributeValue, len(m.Attributes)),
	}
	dataType := "String"
	for name, value := range m.Attributes {
		if name == task.AttributeEnvelope {
			value = string(escape([]byte(value)))
		}
		in.MessageAttributes[name] = types.MessageAttributeValue{DataType: &dataType, StringValue: &value}
	}
	if n := size(in); n > most {
		return nil, task.Errorf(task.MessageTooLarge, "the message has %d bytes with its attributes, and the topic %s takes %d", n, m.Queue, most)
	}
	switch {
	case isFIFO(m.Queue):
		in.MessageDeduplicationId = aws.String(m.ID)
		in.MessageGroupId = aws.String(cmp.Or(m.Group, m.ID))
	case m.Group != "":
		return nil, task.Errorf(task.MessageRejected, "the topic %s has no groups", m.Queue)
	}
	return in, nil
}

// scheduled builds the request that the Scheduler makes of the same message.
func scheduled(m task.Outgoing, arn string, most int64) ([]byte, error) {
	m.Body = bytes.ReplaceAll(m.Body, []byte("<"), []byte(`\u003c`)) // or keywords in it would be replaced
	in, err := message(m, arn, most)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(struct {
		TopicARN               string `json:"TopicArn"`
		Message                string
		MessageAttributes      map[string]types.MessageAttributeValue
		MessageGroupID         *string `json:"MessageGroupId,omitempty"`
		MessageDeduplicationID *string `json:"MessageDeduplicationId,omitempty"`
	}{arn, *in.Message, in.MessageAttributes, in.MessageGroupId, in.MessageDeduplicationId},
		json.Deterministic(true), json.OmitZeroStructFields(true)) // what a text attribute does not have
	if err != nil {
		return nil, &task.Error{Kind: task.MessageRejected, Msg: "the message cannot be scheduled", Err: err, TaskID: m.ID}
	}
	return data, nil
}

// escape writes the two characters that JSON allows in a text and SQS, where
// most topics lead, in no message, as JSON's escapes: they stand in strings alone.
func escape(text []byte) []byte {
	if bytes.Contains(text, []byte("\xef\xbf\xbe")) {
		text = bytes.ReplaceAll(text, []byte("\xef\xbf\xbe"), []byte(`\ufffe`))
	}
	if bytes.Contains(text, []byte("\xef\xbf\xbf")) {
		text = bytes.ReplaceAll(text, []byte("\xef\xbf\xbf"), []byte(`\uffff`))
	}
	return text
}

// size counts the body, and of each attribute its name, type and value.
func size(in *sns.PublishInput) int64 {
	n := len(*in.Message)
	for name, a := range in.MessageAttributes {
		n += len(name) + len(*a.DataType) + len(*a.StringValue)
	}
	return int64(n)
}
