// Package snsdispatch sends tasks to Amazon SNS topics, standard and FIFO.
package snsdispatch

import (
	"context"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/internal/memo"
	"github.com/taskgate/taskgate/adapters/aws/internal/message"
	"github.com/taskgate/taskgate/core/task"
)

// The ways that a message goes.
const (
	Route          = "sns"
	RouteScheduler = "scheduler"
)

// MaxMessageBytes is what a topic takes, body and attributes together, unless
// its attribute MaximumMessageSize says otherwise.
// https://docs.aws.amazon.com/sns/latest/dg/large-message-payloads.html
const MaxMessageBytes = 256 << 10

// MaxScheduledBytes is the most that the body of a message by the Scheduler may
// have, so that it fits into a schedule whatever is in it: its input is the body
// as a string in JSON, where each character is 7 at the worst (\\u003c).
const MaxScheduledBytes = 32 << 10

// Scheduler sends a request to an operation later, as
// adapters/aws/schedulerdispatch does. Errors are [*task.Error].
type Scheduler interface {
	// Schedule makes input the request of an operation at due or soon after. A
	// repeated id is accepted.
	Schedule(ctx context.Context, id string, due time.Time, operation string, input []byte) error
	// Cancel takes a schedule back, unless it is gone.
	Cancel(ctx context.Context, id string) error
}

// Options are what a backend says of its topics.
type Options struct {
	ARNPrefix string           // a topic's ARN but for its name, the last colon included
	Scheduler Scheduler        // for delays, which SNS has not; nil = they are refused
	Now       func() time.Time // nil = time.Now
}

// Topic sends to topics, by their names. It is a [task.BatchDispatcher].
type Topic struct {
	client  *sns.Client
	options Options
	sizes   *memo.Cache[int64] // what a topic takes, by its ARN
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

// Limits implements [task.Dispatcher].
func (t *Topic) Limits(ctx context.Context, name string, delay time.Duration) task.Limits {
	l := task.Limits{
		Route:           Route,
		SupportsDefer:   t.options.Scheduler != nil,
		GroupMode:       message.GroupMode(name),
		FanOut:          true,
		MaxMessageBytes: new(message.MaxBody(t.size(ctx, name))),
	}
	if t.options.Scheduler != nil && delay > 0 {
		l.Route, l.SupportsCancel = RouteScheduler, true
		l.MaxMessageBytes = new(min(*l.MaxMessageBytes, MaxScheduledBytes))
	}
	return l
}

func (t *Topic) arn(name string) string { return t.options.ARNPrefix + name }

// size returns what a topic takes, as far as it is known.
func (t *Topic) size(ctx context.Context, name string) int64 {
	if size, err := t.sizes.Get(ctx, t.arn(name)); err == nil {
		return size
	}
	return MaxMessageBytes
}

// readSize reads what a topic takes. Where that is not permitted, it is the
// default.
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
	in, _, err := build(m, t.arn(m.Queue), t.size(ctx, m.Queue))
	if err != nil {
		return task.Receipt{}, err
	}
	if m.Due.After(t.options.Now()) {
		return task.Receipt{}, t.schedule(ctx, m)
	}
	ctx, cancel := context.WithTimeout(ctx, awssdk.AnswerTime)
	defer cancel()
	out, err := t.client.Publish(ctx, in)
	if err != nil {
		return task.Receipt{}, translate(err, m.Queue)
	}
	return task.Receipt{MessageID: aws.ToString(out.MessageId)}, nil
}

// schedule gives the Scheduler what would have been published, attributes and
// all. See docs/decisions/0005.
func (t *Topic) schedule(ctx context.Context, m task.Outgoing) error {
	if t.options.Scheduler == nil {
		return task.Errorf(task.MessageRejected, "the topic %s cannot delay a message: there is no role for EventBridge Scheduler", m.Queue)
	}
	if len(m.Body) > MaxScheduledBytes {
		return task.Errorf(task.MessageTooLarge, "the message has %d bytes, and one by EventBridge Scheduler may have %d", len(m.Body), MaxScheduledBytes)
	}
	size, err := t.sizes.Get(ctx, t.arn(m.Queue)) // a schedule would be accepted for a topic that is not there
	if missing(err) || ctx.Err() != nil {
		return translate(err, m.Queue)
	}
	if err != nil {
		size = MaxMessageBytes
	}
	in, err := scheduled(m, t.arn(m.Queue), size)
	if err != nil {
		return err
	}
	return t.options.Scheduler.Schedule(ctx, m.ID, m.Due.Time, "sns:publish", in)
}

// Cancel implements [task.Dispatcher]. It takes back what is with the
// Scheduler; what was published is published.
func (t *Topic) Cancel(ctx context.Context, s task.Sent) error {
	if s.Route != RouteScheduler || t.options.Scheduler == nil {
		return translate(ctx.Err(), s.Queue)
	}
	return t.options.Scheduler.Cancel(ctx, s.ID)
}
