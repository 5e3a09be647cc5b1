// Package sqsdispatch sends tasks to Amazon SQS queues, standard and FIFO.
package sqsdispatch

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/internal/memo"
	"github.com/taskgate/taskgate/adapters/aws/internal/message"
	"github.com/taskgate/taskgate/core/task"
)

// The ways that a message goes.
const (
	Route          = "sqs"
	RouteScheduler = "scheduler"
)

// The limits of a queue that its attributes do not lower.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
const (
	MaxMessageBytes = 1 << 20 // body and attributes together
	MaxDelay        = 900 * time.Second
)

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

// Options are what a backend says of its queues.
type Options struct {
	Scheduler      Scheduler        // for delays that SQS does not have; nil = those are refused
	ScheduleAlways bool             // every delay goes by the Scheduler: EventBridgeSchedulerBackend
	Now            func() time.Time // nil = time.Now
}

// Queue sends to the queues of one account and region, by their names. It is a
// [task.BatchDispatcher].
type Queue struct {
	client  *sqs.Client
	options Options
	queues  *memo.Cache[queue]
}

// New returns a dispatcher. The client should be bounded: see awssdk.Bound.
func New(client *sqs.Client, o Options) *Queue {
	if o.Now == nil {
		o.Now = time.Now
	}
	q := &Queue{client: client, options: o}
	q.queues = memo.New(lookupTime, q.lookUp)
	return q
}

// Limits implements [task.Dispatcher].
func (q *Queue) Limits(ctx context.Context, name string, delay time.Duration) task.Limits {
	known, _ := q.queues.Get(ctx, name) // what cannot be learned is unknown; Dispatch reports it
	l := task.Limits{
		Route:           Route,
		GroupMode:       message.GroupMode(name),
		MaxMessageBytes: new(message.MaxBody(known.maxBytes())),
	}
	if known.maxDeliveries > 0 {
		l.MaxDeliveries = new(known.maxDeliveries)
	}
	switch {
	case q.schedules(name, delay):
		l.Route, l.SupportsDefer, l.SupportsCancel = RouteScheduler, true, true
		l.MaxMessageBytes = new(min(*l.MaxMessageBytes, MaxScheduledBytes))
	case q.options.Scheduler != nil && (q.options.ScheduleAlways || !message.IsFIFO(name)):
		l.SupportsDefer = true
	case !message.IsFIFO(name):
		l.SupportsDefer, l.MaxDelaySeconds = true, new(int64(MaxDelay/time.Second))
	}
	return l
}

// schedules reports whether a message that is due after delay goes by the
// Scheduler. A FIFO queue would have it out of its order: only a backend that
// is the Scheduler's own does that.
func (q *Queue) schedules(name string, delay time.Duration) bool {
	return q.options.Scheduler != nil &&
		(delay > 0 && q.options.ScheduleAlways || delay > MaxDelay && !message.IsFIFO(name))
}

// Dispatch implements [task.Dispatcher]. A FIFO queue drops an id that comes
// again within five minutes; a standard one delivers it again.
func (q *Queue) Dispatch(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
	known, err := q.queues.Get(ctx, m.Queue)
	if err != nil {
		return task.Receipt{}, translate(err, m.Queue)
	}
	if q.schedules(m.Queue, q.delay(m)) {
		return task.Receipt{}, q.schedule(ctx, m, known)
	}
	in, _, err := build(m, known, q.delay(m))
	if err != nil {
		return task.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, awssdk.AnswerTime)
	defer cancel()
	out, err := q.client.SendMessage(ctx, in)
	if err != nil {
		return task.Receipt{}, q.failed(err, m.Queue)
	}
	return task.Receipt{MessageID: aws.ToString(out.MessageId)}, nil
}

// schedule gives the Scheduler what would have been sent, attributes and all.
// See docs/decisions/0005.
func (q *Queue) schedule(ctx context.Context, m task.Outgoing, known queue) error {
	if len(m.Body) > MaxScheduledBytes {
		return task.Errorf(task.MessageTooLarge, "the message has %d bytes, and one by EventBridge Scheduler may have %d", len(m.Body), MaxScheduledBytes)
	}
	in, err := scheduled(m, known)
	if err != nil {
		return err
	}
	return q.options.Scheduler.Schedule(ctx, m.ID, m.Due.Time, "sqs:sendMessage", in)
}

// delay returns how long m must wait: never less than 0.
func (q *Queue) delay(m task.Outgoing) time.Duration {
	if m.Due.IsZero() {
		return 0
	}
	return max(0, m.Due.Sub(q.options.Now()))
}

// Cancel implements [task.Dispatcher]. It takes back what is with the
// Scheduler; what a queue holds stays.
func (q *Queue) Cancel(ctx context.Context, s task.Sent) error {
	if s.Route != RouteScheduler || q.options.Scheduler == nil {
		return translate(ctx.Err(), s.Queue)
	}
	return q.options.Scheduler.Cancel(ctx, s.ID)
}
