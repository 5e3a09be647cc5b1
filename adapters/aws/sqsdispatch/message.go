package sqsdispatch

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/adapters/aws/internal/message"
	"github.com/taskgate/taskgate/core/task"
)

// build makes what the SDK sends, and counts its bytes. Delays are whole seconds, and a message
// must not come early.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
func build(m task.Outgoing, known queue, delay time.Duration) (*sqs.SendMessageInput, int64, error) {
	in, bytes, err := timeless(m, known)
	if err != nil {
		return nil, 0, err
	}
	if seconds := (delay + time.Second - 1) / time.Second; seconds > 0 {
		if message.IsFIFO(m.Queue) {
			return nil, 0, task.Errorf(task.MessageRejected, "the FIFO queue %s cannot delay a message", m.Queue)
		}
		if delay > MaxDelay {
			return nil, 0, task.Errorf(task.MessageRejected, "the queue %s delays a message by %d seconds at most", m.Queue, MaxDelay/time.Second)
		}
		in.DelaySeconds = int32(seconds)
	}
	return in, bytes, nil
}

// timeless builds the message without its delay.
func timeless(m task.Outgoing, known queue) (*sqs.SendMessageInput, int64, error) {
	made, err := message.New(m, "queue", known.maxBytes())
	if err != nil {
		return nil, 0, err
	}
	in := &sqs.SendMessageInput{
		QueueUrl:               &known.url,
		MessageBody:            &made.Body,
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
func scheduled(m task.Outgoing, known queue) ([]byte, error) {
	in, _, err := timeless(message.ForSchedule(m), known)
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
