package servicebusdispatch

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/taskgate/taskgate/core/task"
)

// maxLanes is how many lanes of a batch are sent at once.
const maxLanes = 8

// maxScheduled is how many messages are scheduled in one request: a request is
// one transaction, which holds 100.
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas
const maxScheduled = 100

// lane holds what all messages of one request must have in common. All messages
// of a batch to a partitioned entity must have one session, and one request
// schedules all its messages for the same time.
type lane struct {
	queue, session string
	due            time.Time
}

// DispatchBatch implements [task.BatchDispatcher]. Messages of one group that are
// due at the same time keep their order.
func (d *Dispatcher) DispatchBatch(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
	results := make([]task.DispatchResult, len(ms))
	lanes := map[lane][]entry{}
	now := time.Now()
	for i, m := range ms {
		if results[i].Err = d.check(m); results[i].Err != nil {
			continue
		}
		l := lane{m.Queue, m.Group, due(m, now)}
		if d.options.RequiresSession && m.Group == "" {
			l.session = m.ID
		}
		lanes[l] = append(lanes[l], entry{m, &results[i]})
	}
	var all sync.WaitGroup
	slots := make(chan struct{}, maxLanes)
	for l, entries := range lanes {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			d.send(ctx, l, entries)
		})
	}
	all.Wait()
	return results
}

// entry is one message of a lane, and where its result goes.
type entry struct {
	task.Outgoing
	result *task.DispatchResult
}

// send sends the entries of one lane, as many at once as fit.
func (d *Dispatcher) send(ctx context.Context, l lane, entries []entry) {
	for len(entries) > 0 {
		n, numbers, err := d.sendSome(ctx, l, entries)
		switch {
		case err == nil:
			for i, e := range entries[:n] {
				e.result.Receipt = receipt(e.ID, numbers, i)
			}
		case n > 1 && task.KindOf(err).Final(): // one of them is at fault, so each goes alone
			for _, e := range entries[:n] {
				e.result.Receipt, e.result.Err = d.Dispatch(ctx, e.Outgoing)
			}
		case n == 1 && task.KindOf(err).Final():
			entries[0].result.Err = err
		default: // the rest would meet the same error
			for _, e := range entries {
				e.result.Err = err
			}
			return
		}
		entries = entries[n:]
	}
}

// sendSome sends the first n entries: those that one request holds. If they were
// scheduled, numbers are their sequence numbers.
func (d *Dispatcher) sendSome(ctx context.Context, l lane, entries []entry) (n int, numbers []int64, err error) {
	if l.due.IsZero() {
		n, err = d.sendBatch(ctx, l.queue, entries)
		return n, nil, err
	}
	var in []*azservicebus.Message
	for total := 0; n < min(len(entries), maxScheduled); n++ {
		total += size(entries[n].Outgoing)
		if n > 0 && int64(total) > d.maxBody() {
			break
		}
		in = append(in, d.message(entries[n].Outgoing))
	}
	numbers, err = d.schedule(ctx, l.queue, in, l.due)
	return n, numbers, err
}

// sendBatch sends the first n entries: those that one batch holds. One that is
// too large for a batch goes alone.
func (d *Dispatcher) sendBatch(ctx context.Context, queue string, entries []entry) (n int, err error) {
	return use(ctx, &d.links, queue, func(ctx context.Context, s *azservicebus.Sender) (int, error) {
		batch, err := s.NewMessageBatch(ctx, nil)
		if err != nil {
			return 0, err
		}
		for n, e := range entries {
			err := batch.AddMessage(d.message(e.Outgoing), nil)
			if errors.Is(err, azservicebus.ErrMessageTooLarge) && n > 0 {
				return n, s.SendMessageBatch(ctx, batch, nil)
			}
			if errors.Is(err, azservicebus.ErrMessageTooLarge) {
				return 1, s.SendMessage(ctx, d.message(e.Outgoing), nil)
			}
			if err != nil {
				return 0, err
			}
		}
		return len(entries), s.SendMessageBatch(ctx, batch, nil)
	})
}
