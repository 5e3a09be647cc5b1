// Package snsdispatch sends tasks to Amazon SNS topics, standard and FIFO.
package snsdispatch

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/internal/memo"
	"github.com/taskgate/taskgate/adapters/aws/internal/message"
	"github.com/taskgate/taskgate/adapters/aws/schedule"
	"github.com/taskgate/taskgate/core/task"
)

// Route is the route of a message that is published directly.
const Route = "sns"

// MaxMessageBytes is how much a topic takes, body and attributes together, unless
// its attribute MaximumMessageSize says otherwise.
// https://docs.aws.amazon.com/sns/latest/dg/large-message-payloads.html
const MaxMessageBytes = 256 << 10

// Options are the settings of a backend.
type Options struct {
	ARNPrefix string              // a topic's ARN without its name, the last colon included
	Scheduler *schedule.Scheduler // for delays, which SNS does not have; nil = they are refused
	Now       func() time.Time    // nil = time.Now
}

// Topic sends to topics, by their names. It is a [task.BatchDispatcher].
type Topic struct {
	client  *sns.Client
	options Options
	sizes   *memo.Cache[int64] // how much a topic takes, by its ARN
}

// New returns a dispatcher. The client should be bounded: see awssdk.Bound.
func New(client *sns.Client, o Options) *Topic {
	if o.Now == nil {
		o.Now = time.Now
	}
	t := &Topic{client: client, options: o}
	t.sizes = memo.New(awssdk.AnswerTime, t.readSize)
	return t
}

// CheckName returns the naming rule of SNS that a topic's name breaks, or "".
// https://docs.aws.amazon.com/sns/latest/api/API_CreateTopic.html
func CheckName(name string) string {
	if !message.ValidName(name, 256) {
		return "must be the name of an SNS topic: 1 to 256 letters, digits, - and _, with .fifo at the end of a FIFO topic's"
	}
	return ""
}

// Limits implements [task.Dispatcher]. It chooses the route: every delay goes by
// the Scheduler. Only FIFO topics have groups. A standard topic hands a group to
// SQS queues alone, so that for its other subscribers it would be lost.
func (t *Topic) Limits(ctx context.Context, name string, delay time.Duration) task.Limits {
	l := task.Limits{
		Route:           Route,
		SupportsDefer:   t.options.Scheduler != nil,
		GroupMode:       groupMode(name),
		CheckGroup:      message.CheckGroup,
		CheckTaskName:   message.CheckTaskName,
		FanOut:          true,
		MaxMessageBytes: new(message.MaxBody(t.size(ctx, name))),
	}
	if l.SupportsDefer && delay > 0 {
		return schedule.Limit(l)
	}
	return l
}

func groupMode(name string) task.GroupMode {
	if message.IsFIFO(name) {
		return task.GroupOrder
	}
	return task.GroupNone
}

func (t *Topic) arn(name string) string { return t.options.ARNPrefix + name }

// size returns how much a topic takes, or the default if that is unknown.
func (t *Topic) size(ctx context.Context, name string) int64 {
	if size, err := t.sizes.Get(ctx, t.arn(name)); err == nil {
		return size
	}
	return MaxMessageBytes
}

// readSize reads how much a topic takes. Without the permission for that it
// returns the default.
func (t *Topic) readSize(ctx context.Context, arn string) (int64, error) {
	out, err := t.client.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &arn})
	if awssdk.Denied(err) {
		return MaxMessageBytes, nil
	}
	if err != nil {
		return 0, err
	}
	if size, err := strconv.ParseInt(out.Attributes["MaximumMessageSize"], 10, 64); err == nil && size > 0 {
		return size, nil
	}
	return MaxMessageBytes, nil
}

// Dispatch implements [task.Dispatcher]. A FIFO topic drops an id that comes
// again within five minutes; a standard one delivers it again.
func (t *Topic) Dispatch(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
	if m.Route == schedule.Route {
		return task.Receipt{}, t.schedule(ctx, m)
	}
	in, _, err := t.build(m, t.size(ctx, m.Queue))
	if err != nil {
		return task.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, awssdk.AnswerTime)
	defer cancel()
	out, err := t.client.Publish(ctx, in)
	if err != nil {
		return task.Receipt{}, translate(err, m.Queue)
	}
	return task.Receipt{MessageID: aws.ToString(out.MessageId)}, nil
}

// schedule gives the Scheduler the request that would have been made. See
// docs/decisions/0005.
func (t *Topic) schedule(ctx context.Context, m task.Outgoing) error {
	size, err := t.sizes.Get(ctx, t.arn(m.Queue)) // AWS accepts a schedule for a topic that does not exist
	if missing(err) || ctx.Err() != nil {
		return translate(errors.Join(err, ctx.Err()), m.Queue)
	}
	if err != nil {
		size = MaxMessageBytes
	}
	made, err := message.New(m, "topic", groupMode(m.Queue), size)
	if err != nil {
		return err
	}
	request, err := made.Request("TopicArn", t.arn(m.Queue), "Message")
	if err != nil {
		return err
	}
	return t.options.Scheduler.Request(ctx, m, "sns:publish", request)
}

// Cancel implements [task.Dispatcher]. What was published stays so.
func (t *Topic) Cancel(ctx context.Context, s task.Sent) error {
	return t.options.Scheduler.Cancel(ctx, s)
}
