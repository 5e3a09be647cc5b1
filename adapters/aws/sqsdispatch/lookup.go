package sqsdispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/internal/message"
	"github.com/taskgate/taskgate/core/task"
)

// lookupTime bounds the two calls of a look-up together.
const lookupTime = awssdk.AnswerTime

// queue holds the URL and the limits of a queue. In the zero value all of them are
// unknown.
type queue struct {
	url           string
	maxMessage    int64 // bytes; 0 = unknown
	maxDeliveries int64 // 0 = unknown or unbounded
	retention     int64 // seconds; 0 = unknown
}

func (q queue) maxBytes() int64 {
	if q.maxMessage == 0 {
		return MaxMessageBytes
	}
	return q.maxMessage
}

// maxDelay returns the longest delay of a message. The retention period of a
// message begins when it is sent, so a delay must be shorter: SQS would delete
// the message before anybody could receive it. FIFO queues delay no single message.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
func (q queue) maxDelay(name string) time.Duration {
	switch {
	case message.IsFIFO(name):
		return 0
	case q.retention == 0:
		return MaxDelay
	}
	return min(MaxDelay, time.Duration(q.retention-1)*time.Second)
}

// lookUp finds a queue by its name and reads its limits from its attributes.
// Without the permission to read them, they are unknown.
func (q *Queue) lookUp(ctx context.Context, name string) (queue, error) {
	found, err := q.client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		return queue{}, err
	}
	out, err := q.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: found.QueueUrl,
		AttributeNames: []types.QueueAttributeName{
			types.QueueAttributeNameMaximumMessageSize, types.QueueAttributeNameRedrivePolicy, types.QueueAttributeNameMessageRetentionPeriod,
		},
	})
	if err != nil && !awssdk.Denied(err) {
		return queue{}, err
	}
	known := queue{url: aws.ToString(found.QueueUrl)}
	if err == nil {
		known.maxMessage = number(out.Attributes[string(types.QueueAttributeNameMaximumMessageSize)])
		known.maxDeliveries = maxReceiveCount(out.Attributes[string(types.QueueAttributeNameRedrivePolicy)])
		known.retention = number(out.Attributes[string(types.QueueAttributeNameMessageRetentionPeriod)])
	}
	return known, nil
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// maxReceiveCount reads the member of that name from a redrive policy, where it is
// a number or a string.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
func maxReceiveCount(policy string) int64 {
	var p struct{ MaxReceiveCount json.RawMessage }
	if json.Unmarshal([]byte(policy), &p) != nil {
		return 0
	}
	return number(strings.Trim(string(p.MaxReceiveCount), `"`))
}

// failed translates an error of sending. After a queue has vanished, the next
// request looks it up again.
func (q *Queue) failed(err error, name string) error {
	if missing(err) {
		q.queues.Forget(name)
	}
	return translate(err, name)
}

func missing(err error) bool {
	var a *types.QueueDoesNotExist
	var b *types.InvalidAddress // the name breaks the naming rules
	return errors.As(err, &a) || errors.As(err, &b) || strings.HasSuffix(awssdk.Code(err), "NonExistentQueue")
}

// translate says what an error of the SDK means for a message to that queue.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html#API_SendMessage_Errors
func translate(err error, name string) error {
	if err == nil {
		return nil
	}
	e := awssdk.Unavailable(err, "the queue "+name)
	e.Err = fmt.Errorf("sqsdispatch: %s: %w", name, err)
	var tooLong *types.BatchRequestTooLong
	switch {
	case missing(err):
		e.Msg = fmt.Sprintf("there is no queue %s", name)
	case errors.As(err, &tooLong):
		e.Kind, e.Msg = task.MessageTooLarge, "the message is larger than the queue takes"
	default:
		e.Kind, e.Msg = refusal(awssdk.Code(err), e.Kind, e.Msg)
	}
	return e
}

// refusal returns MessageRejected and a text if the error code means that SQS will
// always refuse this message. For any other code it returns fallback and msg. If
// the size limit of a queue was lowered, SQS reports a message that is too long as
// InvalidParameterValue.
func refusal(code string, fallback task.Kind, msg string) (task.Kind, string) {
	switch strings.TrimPrefix(code, "AWS.SimpleQueueService.") {
	case "InvalidMessageContents", "InvalidParameterValue":
		return task.MessageRejected, "the queue does not take this message: a character, an attribute, the group or its size"
	}
	return fallback, msg
}
