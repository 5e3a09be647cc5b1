package tasktest

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// Queue is a [task.BatchDispatcher] in memory, and its target: what it accepted
// is taken out with Take or Receive. The zero Queue is ready for use; it takes
// everything, supports every limit, and has the route "memory". Set the
// exported fields before the first call.
type Queue struct {
	Faults

	// Queues are the queues that exist; nil = whichever is asked for.
	Queues []string
	// LimitsOf answers Limits, and Dispatch enforces what it answers.
	LimitsOf func(queue string, delay time.Duration) task.Limits
	// CancelRefs makes every receipt carry a CancelRef that Cancel then needs,
	// as Service Bus' sequence numbers do.
	CancelRefs bool
	// Now is the target's clock; nil = time.Now. Advance goes on top of it.
	Now func() time.Time

	mu      sync.Mutex
	held    []held // the earliest due first, then as they were accepted
	last    int    // number of the last accepted message
	ahead   time.Duration
	changed chan struct{} // closed when something may have become due
}

type held struct {
	task.Outgoing
	receipt task.Receipt
}

var _ task.BatchDispatcher = (*Queue)(nil)

// Unlimited is what a Queue answers as its limits when it was told nothing.
func Unlimited(string, time.Duration) task.Limits {
	return task.Limits{Route: "memory", SupportsDefer: true, GroupMode: task.GroupOrder, SupportsCancel: true}
}

// Limits implements [task.Dispatcher].
func (q *Queue) Limits(_ context.Context, queue string, delay time.Duration) task.Limits {
	if q.LimitsOf == nil {
		return Unlimited(queue, delay)
	}
	return q.LimitsOf(queue, delay)
}

// Dispatch implements [task.Dispatcher].
func (q *Queue) Dispatch(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
	return q.dispatch(ctx, Dispatch, m)
}

func (q *Queue) dispatch(ctx context.Context, op Op, m task.Outgoing) (receipt task.Receipt, err error) {
	err = q.call(ctx, op, m.ID, func() error {
		receipt, err = q.accept(m)
		return err
	})
	if err != nil {
		return task.Receipt{}, err
	}
	return receipt, nil
}

// DispatchBatch implements [task.BatchDispatcher].
func (q *Queue) DispatchBatch(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
	results := make([]task.DispatchResult, len(ms))
	err := q.call(ctx, DispatchBatch, "", func() error {
		for i, m := range ms {
			results[i].Receipt, results[i].Err = q.dispatch(ctx, BatchItem, m)
		}
		return nil
	})
	if err != nil {
		for i := range results {
			results[i] = task.DispatchResult{Err: err}
		}
	}
	return results
}

// Cancel implements [task.Dispatcher]: it removes every copy of the message that
// went by s.Route, or the one that s.CancelRef names.
func (q *Queue) Cancel(ctx context.Context, s task.Sent) error {
	return q.call(ctx, Cancel, s.ID, func() error {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.held = slices.DeleteFunc(q.held, func(h held) bool {
			return h.ID == s.ID && h.Queue == s.Queue && h.Route == s.Route && h.receipt.CancelRef == s.CancelRef
		})
		return nil
	})
}

// accept refuses m, or holds a copy of it.
func (q *Queue) accept(m task.Outgoing) (task.Receipt, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.refusal(m); err != nil {
		return task.Receipt{}, err
	}
	q.last++
	h := held{Outgoing: m, receipt: task.Receipt{MessageID: strconv.Itoa(q.last)}}
	h.Body, h.Attributes = slices.Clone(m.Body), maps.Clone(m.Attributes)
	if q.CancelRefs {
		h.receipt.CancelRef = "ref-" + h.receipt.MessageID
	}
	at := len(q.held)
	for at > 0 && q.held[at-1].Due.After(h.Due.Time) {
		at--
	}
	q.held = slices.Insert(q.held, at, h)
	q.wake()
	return h.receipt, nil
}

func (q *Queue) refusal(m task.Outgoing) error {
	if q.Queues != nil && !slices.Contains(q.Queues, m.Queue) {
		return task.Errorf(task.Unavailable, "there is no queue %q", m.Queue)
	}
	delay := time.Duration(0)
	if !m.Due.IsZero() {
		delay = max(0, m.Due.Sub(q.now()))
	}
	limits := q.Limits(context.Background(), m.Queue, delay)
	switch {
	case limits.MaxMessageBytes != nil && int64(len(m.Body)) > *limits.MaxMessageBytes:
		return task.Errorf(task.MessageTooLarge, "the message has %d bytes, and the queue takes %d", len(m.Body), *limits.MaxMessageBytes)
	case m.Group != "" && !limits.GroupMode.Supported():
		return task.Errorf(task.MessageRejected, "the queue has no groups")
	case m.Group != "" && limits.CheckGroup != nil && limits.CheckGroup(m.Group) != "":
		return task.Errorf(task.MessageRejected, "the group %s", limits.CheckGroup(m.Group))
	case delay > 0 && !limits.SupportsDefer:
		return task.Errorf(task.MessageRejected, "the queue cannot delay a message")
	case limits.MaxDelaySeconds != nil && delay > time.Duration(*limits.MaxDelaySeconds)*time.Second:
		return task.Errorf(task.MessageRejected, "the queue delays a message by %d seconds at most", *limits.MaxDelaySeconds)
	}
	return nil
}

// Advance moves the target's clock, and makes due what it passes.
func (q *Queue) Advance(d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ahead += d
	q.wake()
}

func (q *Queue) now() time.Time {
	if q.Now == nil {
		return time.Now().Add(q.ahead)
	}
	return q.Now().Add(q.ahead)
}

func (q *Queue) wake() {
	if q.changed != nil {
		close(q.changed)
		q.changed = nil
	}
}

// Held returns copies of all messages that are still there, due or not: the
// earliest due first, then in the order in which they were accepted.
func (q *Queue) Held() []task.Outgoing {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make([]task.Outgoing, len(q.held))
	for i, h := range q.held {
		all[i] = h.Outgoing
		all[i].Body, all[i].Attributes = slices.Clone(h.Body), maps.Clone(h.Attributes)
	}
	return all
}

// Take takes out the messages that are due, the earliest due first, then in
// the order in which they were accepted.
func (q *Queue) Take() []task.Outgoing {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.take(len(q.held))
}

// take takes out up to n messages that are due. A message is the taker's own:
// nothing here keeps it.
func (q *Queue) take(n int) (due []task.Outgoing) {
	now := q.now()
	for len(due) < n && len(q.held) > 0 && !q.held[0].Due.After(now) {
		due = append(due, q.held[0].Outgoing)
		q.held = q.held[1:]
	}
	return due
}

// Receive takes out one message, and waits until there is one that is due or
// ctx ends.
func (q *Queue) Receive(ctx context.Context) (task.Outgoing, error) {
	for {
		q.mu.Lock()
		due := q.take(1)
		if q.changed == nil {
			q.changed = make(chan struct{})
		}
		changed := q.changed
		var passes <-chan time.Time // nil, and so never, when nothing is to become due
		if len(q.held) > 0 {
			passes = time.After(q.held[0].Due.Sub(q.now()))
		}
		q.mu.Unlock()
		if len(due) == 1 {
			return due[0], nil
		}
		select {
		case <-changed:
		case <-passes:
		case <-ctx.Done():
			return task.Outgoing{}, ctx.Err()
		}
	}
}
