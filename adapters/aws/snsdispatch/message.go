package snsdispatch

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/adapters/aws/internal/message"
	"github.com/taskgate/taskgate/core/task"
)

// build makes what the SDK publishes to a topic that takes so many bytes, and
// counts its own. https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
func build(m task.Outgoing, arn string, most int64) (*sns.PublishInput, int64, error) {
	made, err := message.New(m, "topic", most)
	if err != nil {
		return nil, 0, err
	}
	in := &sns.PublishInput{
		TopicArn:               &arn,
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

// scheduled builds the request that the Scheduler makes of the same message.
func scheduled(m task.Outgoing, arn string, most int64) ([]byte, error) {
	in, _, err := build(message.ForSchedule(m), arn, most)
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
