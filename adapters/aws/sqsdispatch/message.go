package sqsdispatch

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/taskgate/taskgate/adapters/aws/internal/message"
	"github.com/taskgate/taskgate/core/task"
)

// build makes the SDK's input, and counts its bytes. Delays are whole seconds,
// and a message must not come early.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
func build(m task.Outgoing, known queue, delay time.Duration) (*sqs.SendMessageInput, int64, error) {
	made, err := message.New(m, "queue", groupMode(m.Queue), known.maxBytes())
	if err != nil {
		return nil, 0, err
	}
	if longest := known.maxDelay(m.Queue); delay > longest {
		return nil, 0, task.Errorf(task.MessageRejected, "the queue %s delays a message by %d seconds at most", m.Queue, longest/time.Second)
	}
	in := &sqs.SendMessageInput{
		QueueUrl:               &known.url,
		MessageBody:            &made.Body,
		MessageAttributes:      make(map[string]types.MessageAttributeValue, len(made.Attributes)),
		MessageGroupId:         made.Group,
		MessageDeduplicationId: made.DeduplicationID,
		DelaySeconds:           int32((delay + time.Second - 1) / time.Second),
	}
	text := aws.String(message.AttributeType)
	for name, value := range made.Attributes {
		in.MessageAttributes[name] = types.MessageAttributeValue{DataType: text, StringValue: &value}
	}
	return in, made.Bytes, nil
}
