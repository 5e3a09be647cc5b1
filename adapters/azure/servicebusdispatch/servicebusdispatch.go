// Package servicebusdispatch sends tasks to Azure Service Bus queues and topics.
package servicebusdispatch

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/taskgate/taskgate/core/task"
)

// Route is the only route of this dispatcher, for messages due now or later.
const Route = "servicebus"

// standardMessageBytes is the largest message of the Standard tier, headers
// included. headerBytes of it are kept free for the headers: the properties that
// every message has, and has twice in a batch.
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas
const (
	standardMessageBytes = 256 << 10
	headerBytes          = 8 << 10
)

// Options describe the queues or topics. The dispatcher cannot ask the service:
// that takes the right to manage them, which a sender should not have.
type Options struct {
	// Topic is set for topics: each subscription has a copy of each message.
	Topic bool

	// RequiresSession is set for queues that require sessions, and for topics
	// whose subscriptions do. A task's group is then the session of its message,
	// and a task without a group has a session of its own. Other entities accept
	// a session and ignore it, so groups are refused there.
	// https://learn.microsoft.com/azure/service-bus-messaging/message-sessions
	RequiresSession bool

	MaxMessageBytes int64 // the entities' MaxMessageSize, of which a part is for headers; 0 = Standard's
	MaxDeliveries   int64 // MaxDeliveryCount of the entities; 0 = unknown
}

// Dispatcher sends to the queues, or the topics, of one namespace. It is a
// [task.BatchDispatcher].
type Dispatcher struct {
	links   links
	options Options
}

// New returns a dispatcher that sends over one connection. The function connect
// makes the connection, and should use [ClientOptions]. New calls connect at once,
// so that New returns an error for a wrong setting. The dispatcher calls connect
// again when it has given up a connection that no longer answers.
func New(connect func() (*azservicebus.Client, error), o Options) (*Dispatcher, error) {
	if o.MaxMessageBytes == 0 {
		o.MaxMessageBytes = standardMessageBytes
	}
	d := &Dispatcher{links: links{connect: connect}, options: o}
	return d, d.links.open()
}

// Limits implements [task.Dispatcher]. There is no maximum delay: a message's
// time to live, an entity's DefaultMessageTimeToLive too, counts from when it is
// due and not from when it is scheduled.
// https://learn.microsoft.com/azure/service-bus-messaging/message-expiration
func (d *Dispatcher) Limits(context.Context, string, time.Duration) task.Limits {
	l := task.Limits{
		Route:           Route,
		SupportsDefer:   true,
		SupportsCancel:  true, // until a message is due
		FanOut:          d.options.Topic,
		MaxMessageBytes: new(d.maxBody()),
	}
	if d.options.RequiresSession {
		l.GroupMode, l.CheckGroup = task.GroupOrder, checkGroup
	}
	if d.options.MaxDeliveries > 0 {
		l.MaxDeliveries = new(d.options.MaxDeliveries)
	}
	return l
}

// maxBody is the most bytes that a message's body may have.
func (d *Dispatcher) maxBody() int64 { return d.options.MaxMessageBytes - headerBytes }

// Dispatch implements [task.Dispatcher]. A message that is due later is
// scheduled; the receipt then names its sequence number. An entity with
// duplicate detection drops an id that it has seen within its window.
// https://learn.microsoft.com/azure/service-bus-messaging/duplicate-detection
func (d *Dispatcher) Dispatch(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
	if err := d.check(m); err != nil {
		return task.Receipt{}, err
	}
	in := []*azservicebus.Message{d.message(m)}
	if due := due(m, time.Now()); !due.IsZero() {
		numbers, err := d.schedule(ctx, m.Queue, in, due)
		if err != nil {
			return task.Receipt{}, err
		}
		return receipt(m.ID, numbers, 0), nil
	}
	_, err := use(ctx, &d.links, m.Queue, func(ctx context.Context, s *azservicebus.Sender) (struct{}, error) {
		return struct{}{}, s.SendMessage(ctx, in[0], nil)
	})
	if err != nil {
		return task.Receipt{}, err
	}
	return receipt(m.ID, nil, 0), nil
}

// schedule returns the sequence numbers of the messages, in their order.
func (d *Dispatcher) schedule(ctx context.Context, queue string, in []*azservicebus.Message, due time.Time) ([]int64, error) {
	return use(ctx, &d.links, queue, func(ctx context.Context, s *azservicebus.Sender) ([]int64, error) {
		numbers, err := s.ScheduleMessages(ctx, in, due, nil)
		if err == nil && len(numbers) != len(in) {
			err = errors.New("not as many sequence numbers as messages")
		}
		return numbers, err
	})
}

// receipt returns the receipt of message i, which has this id. numbers are the
// sequence numbers of all messages if they were scheduled, else nil.
func receipt(id string, numbers []int64, i int) task.Receipt {
	r := task.Receipt{MessageID: id}
	if numbers != nil {
		r.CancelRef = strconv.FormatInt(numbers[i], 10)
	}
	return r
}

// Cancel implements [task.Dispatcher]. It removes a message that is not yet due.
func (d *Dispatcher) Cancel(ctx context.Context, s task.Sent) error {
	number, err := strconv.ParseInt(s.CancelRef, 10, 64)
	if err != nil {
		if ctx.Err() != nil {
			return translate(ctx.Err(), s.Queue)
		}
		return nil // it was due at once, and cannot be taken back
	}
	_, err = use(ctx, &d.links, s.Queue, func(ctx context.Context, sender *azservicebus.Sender) (struct{}, error) {
		err := sender.CancelScheduledMessages(ctx, []int64{number}, nil)
		if code(err) == azservicebus.CodeNotFound {
			err = nil // it is cancelled already, or has become due
		}
		return struct{}{}, err
	})
	return err
}

// Prewarm opens the connection and the links to the entities, so that the first
// task does not wait for that: it takes about 20 round trips. An error names the
// entity that cannot be reached.
func (d *Dispatcher) Prewarm(ctx context.Context, entities ...string) error {
	errs := make([]error, len(entities))
	var all sync.WaitGroup
	for i, entity := range entities {
		all.Go(func() {
			_, errs[i] = use(ctx, &d.links, entity, func(ctx context.Context, s *azservicebus.Sender) (*azservicebus.MessageBatch, error) {
				return s.NewMessageBatch(ctx, nil) // it must know how much the link takes
			})
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
