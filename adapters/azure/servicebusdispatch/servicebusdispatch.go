// Package servicebusdispatch sends tasks to Azure Service Bus queues and topics.
package servicebusdispatch

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/taskgate/taskgate/core/task"
)

// Route is the only way that a message goes here, due at once or later.
const Route = "servicebus"

// What a message of the Standard tier may have, its headers included, and what
// is kept free for them: the properties that every message carries, twice in a
// batch. https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas
const (
	standardMessageBytes = 256 << 10
	headerBytes          = 8 << 10
)

// DefaultMaxMessageBytes is the most that a message's body may have unless
// [Options] say otherwise.
const DefaultMaxMessageBytes = standardMessageBytes - headerBytes

// Options are what is known of the entities beforehand: asking the service
// takes the right to manage them, which a sender should not have.
type Options struct {
	// Topic is set for topics: each subscription has a copy of each message.
	Topic bool

	// RequiresSession is set for queues, and topics whose subscriptions,
	// require sessions: the group of a task is its message's session, and a
	// task without one is a session of its own. Elsewhere a session would be
	// accepted and mean nothing, so there groups are refused.
	// https://learn.microsoft.com/azure/service-bus-messaging/message-sessions
	RequiresSession bool

	MaxMessageBytes int64            // the entities' MaxMessageSize, of which a part is for headers; 0 = Standard's
	MaxDeliveries   int64            // MaxDeliveryCount of the entities; 0 = unknown
	Now             func() time.Time // nil = time.Now
}

// Dispatcher sends to the queues, or the topics, of one namespace. It is a
// [task.BatchDispatcher].
type Dispatcher struct {
	links           links
	topic, sessions bool
	limits          task.Limits
	now             func() time.Time
}

// New returns a dispatcher that sends over one connection, which connect makes;
// its options should be [ClientOptions]. It is made here, so that a wrong
// setting is an error now, and again whenever a connection has fallen silent.
func New(connect func() (*azservicebus.Client, error), o Options) (*Dispatcher, error) {
	if o.MaxMessageBytes == 0 {
		o.MaxMessageBytes = standardMessageBytes
	}
	o.MaxMessageBytes -= headerBytes // what is left for the body
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &Dispatcher{topic: o.Topic, sessions: o.RequiresSession, now: o.Now}
	d.limits = task.Limits{
		Route:           Route,
		SupportsDefer:   true,
		SupportsCancel:  true, // until a message is due
		FanOut:          o.Topic,
		MaxMessageBytes: &o.MaxMessageBytes,
	}
	if o.RequiresSession {
		d.limits.GroupMode, d.limits.CheckGroup = task.GroupOrder, checkGroup
	}
	if o.MaxDeliveries > 0 {
		d.limits.MaxDeliveries = &o.MaxDeliveries
	}
	d.links.connect = connect
	return d, d.links.open()
}

// Limits implements [task.Dispatcher].
func (d *Dispatcher) Limits(context.Context, string, time.Duration) task.Limits {
	l := d.limits
	l.MaxMessageBytes, l.MaxDeliveries = clone(l.MaxMessageBytes), clone(l.MaxDeliveries)
	return l
}

func clone(n *int64) *int64 {
	if n == nil {
		return nil
	}
	return new(*n)
}

// Dispatch implements [task.Dispatcher]. A message that is due later is
// scheduled; the receipt then names its sequence number. An entity with
// duplicate detection drops an id that it has seen within its window.
// https://learn.microsoft.com/azure/service-bus-messaging/duplicate-detection
func (d *Dispatcher) Dispatch(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
	if err := d.check(m); err != nil {
		return task.Receipt{}, err
	}
	in := []*azservicebus.Message{message(m, d.sessions)}
	if due := d.due(m); !due.IsZero() {
		numbers, err := d.schedule(ctx, m.Queue, in, due)
		if err != nil {
			return task.Receipt{}, err
		}
		return receipt(m, numbers[0]), nil
	}
	_, err := use(ctx, &d.links, m.Queue, func(ctx context.Context, s *azservicebus.Sender) (struct{}, error) {
		return struct{}{}, s.SendMessage(ctx, in[0], nil)
	})
	if err != nil {
		return task.Receipt{}, err
	}
	return task.Receipt{MessageID: m.ID}, nil
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

func receipt(m task.Outgoing, sequenceNumber int64) task.Receipt {
	return task.Receipt{MessageID: m.ID, CancelRef: strconv.FormatInt(sequenceNumber, 10)}
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

// Prewarm opens the connection and the links to the entities, side by side, so
// that the first task does not wait for their 20 or so round trips. An error
// names the entity that cannot be reached.
func (d *Dispatcher) Prewarm(ctx context.Context, entities ...string) error {
	return d.links.prewarm(ctx, entities)
}

// Close closes the connection. Later calls are Unavailable.
func (d *Dispatcher) Close(ctx context.Context) error { return d.links.close(ctx) }
