package snsdispatch

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/taskgate/taskgate/adapters/aws/internal/message"
	"github.com/taskgate/taskgate/core/task"
)

// build makes the SDK's input for a topic that takes limit bytes, and counts its
// bytes. https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
func (t *Topic) build(m task.Outgoing, limit int64) (*sns.PublishInput, int64, error) {
	if m.Due.After(t.options.Now()) {
		return nil, 0, task.Errorf(task.MessageRejected, "the topic %s cannot delay a message", m.Queue)
	}
	made, err := message.New(m, "topic", groupMode(m.Queue), limit)
	if err != nil {
		return nil, 0, err
	}
	in := &sns.PublishInput{
		TopicArn:               aws.String(t.arn(m.Queue)),
		Message:                &made.Body,
		MessageAttributes:      make(map[string]types.MessageAttributeValue, len(made.Attributes)),
		MessageGroupId:         made.Group,
		MessageDeduplicationId: made.DeduplicationID,
	}
	text := aws.String(message.AttributeType)
	for name, value := range made.Attributes {
		in.MessageAttributes[name] = types.MessageAttributeValue{DataType: text, StringValue: &value}
	}
	return in, made.Bytes, nil
}
