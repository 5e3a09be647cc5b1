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
	"github.com/taskgate/taskgate/adapters/aws/schedule"
	"github.com/taskgate/taskgate/core/task"
)

// Route is the route of a message that is sent to its queue directly.
const Route = "sqs"

// The limits of a queue whose attributes do not lower them.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
const (
	MaxMessageBytes = 1 << 20 // body and attributes together
	MaxDelay        = 900 * time.Second
)

// Options are the settings of a backend.
type Options struct {
	Scheduler      *schedule.Scheduler // for delays that SQS does not have; nil = those are refused
	ScheduleAlways bool                // every delay goes by the Scheduler: EventBridgeSchedulerBackend
	Now            func() time.Time    // nil = time.Now
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

// CheckName returns the naming rule of SQS that a queue's name breaks, or "".
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html
func CheckName(name string) string {
	if !message.ValidName(name, 80) {
		return "must be the name of an SQS queue: 1 to 80 letters, digits, - and _, with .fifo at the end of a FIFO queue's"
	}
	return ""
}

// Limits implements [task.Dispatcher]. It chooses the route. A delay longer than
// SQS allows goes by the Scheduler. With ScheduleAlways, every delay goes by the
// Scheduler. Only a backend with ScheduleAlways delays messages to FIFO queues,
// because a scheduled message loses its place in its group.
func (q *Queue) Limits(ctx context.Context, name string, delay time.Duration) task.Limits {
	known, _ := q.queues.Get(ctx, name) // an error leaves the limits unknown, and Dispatch reports it
	l := task.Limits{
		Route:           Route,
		GroupMode:       groupMode(name),
		CheckGroup:      message.CheckGroup,
		CheckTaskName:   message.CheckTaskName,
		MaxMessageBytes: new(message.MaxBody(known.maxBytes())),
	}
	if known.maxDeliveries > 0 {
		l.MaxDeliveries = new(known.maxDeliveries)
	}
	longest := known.maxDelay(name)
	schedules := q.options.Scheduler != nil && (q.options.ScheduleAlways || !message.IsFIFO(name))
	switch {
	case schedules && delay > 0 && (q.options.ScheduleAlways || delay > longest):
		return schedule.Limit(l)
	case schedules:
		l.SupportsDefer = true
	case longest > 0:
		l.SupportsDefer, l.MaxDelaySeconds = true, new(int64(longest/time.Second))
	}
	return l
}

// groupMode returns the group mode of a queue. On a FIFO queue a group keeps order.
// On a standard queue a group is used for fair queues.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html
func groupMode(name string) task.GroupMode {
	if message.IsFIFO(name) {
		return task.GroupOrder
	}
	return task.GroupFairness
}

// Dispatch implements [task.Dispatcher]. A FIFO queue drops an id that comes
// again within five minutes; a standard one delivers it again.
func (q *Queue) Dispatch(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
	known, err := q.queues.Get(ctx, m.Queue)
	if err != nil {
		return task.Receipt{}, translate(err, m.Queue)
	}
	if m.Route == schedule.Route {
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

// schedule creates a schedule in EventBridge Scheduler that will send m to the
// queue with SendMessage. See docs/decisions/0005.
func (q *Queue) schedule(ctx context.Context, m task.Outgoing, known queue) error {
	made, err := message.New(m, "queue", groupMode(m.Queue), known.maxBytes())
	if err != nil {
		return err
	}
	request, err := made.Request("QueueUrl", known.url, "MessageBody")
	if err != nil {
		return err
	}
	return q.options.Scheduler.Request(ctx, m, "sqs:sendMessage", request)
}

// delay returns how long m must wait: never less than 0.
func (q *Queue) delay(m task.Outgoing) time.Duration {
	if m.Due.IsZero() {
		return 0
	}
	return max(0, m.Due.Sub(q.options.Now()))
}

// Cancel implements [task.Dispatcher]. Cancel can delete a schedule. It cannot
// remove a message that is already in the queue.
func (q *Queue) Cancel(ctx context.Context, s task.Sent) error {
	return q.options.Scheduler.Cancel(ctx, s)
}
