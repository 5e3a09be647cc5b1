package servicebusdispatch

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/taskgate/taskgate/core/task"
)

// maxLanes is how many lanes of a batch are sent side by side.
const maxLanes = 8

// maxScheduled is how many messages are scheduled in one request: a request is
// one transaction, which holds 100.
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas
const maxScheduled = 100

// lane is what the messages of one request must share: a partitioned entity
// takes one session a batch, and a request schedules for one time.
type lane struct {
	queue, session string
	due            time.Time
}

// DispatchBatch implements [task.BatchDispatcher]. Messages of one group keep
// their order.
func (d *Dispatcher) DispatchBatch(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
	results := make([]task.DispatchResult, len(ms))
	lanes := map[lane][]int{}
	for i, m := range ms {
		if results[i].Err = d.check(m); results[i].Err == nil {
			l := lane{m.Queue, m.Group, d.due(m)}
			if d.sessions && m.Group == "" {
				l.session = m.ID
			}
			lanes[l] = append(lanes[l], i)
		}
	}
	var all sync.WaitGroup
	slots := make(chan struct{}, maxLanes)
	for l, places := range lanes {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			d.send(ctx, l, ms, places, results)
		})
	}
	all.Wait()
	return results
}

// send sends the messages at those places of one lane, as many at once as fit.
func (d *Dispatcher) send(ctx context.Context, l lane, ms []task.Outgoing, places []int, results []task.DispatchResult) {
	for len(places) > 0 {
		var n int
		var receipts []task.Receipt
		var err error
		if l.due.IsZero() {
			n, err = d.sendSome(ctx, l.queue, at(ms, places))
		} else {
			n, receipts, err = d.scheduleSome(ctx, l, at(ms, places))
		}
		switch {
		case task.KindOf(err).Final() && n > 1: // one of them is at fault
			for _, place := range places[:n] {
				results[place].Receipt, results[place].Err = d.Dispatch(ctx, ms[place])
			}
		case err != nil && (n == 0 || !task.KindOf(err).Final()):
			for _, place := range places { // the rest would wait for the same
				results[place].Err = err
			}
			return
		default:
			for i, place := range places[:n] {
				results[place] = task.DispatchResult{Receipt: task.Receipt{MessageID: ms[place].ID}, Err: err}
				if err == nil && receipts != nil {
					results[place].Receipt = receipts[i]
				}
			}
		}
		places = places[n:]
	}
}

func at(ms []task.Outgoing, places []int) []task.Outgoing {
	some := make([]task.Outgoing, len(places))
	for i, place := range places {
		some[i] = ms[place]
	}
	return some
}

// sendSome sends the first n messages: those that one batch holds. One that is
// too large for a batch goes alone.
func (d *Dispatcher) sendSome(ctx context.Context, queue string, ms []task.Outgoing) (n int, err error) {
	return use(ctx, &d.links, queue, func(ctx context.Context, s *azservicebus.Sender) (int, error) {
		batch, err := s.NewMessageBatch(ctx, nil)
		if err != nil {
			return 0, err
		}
		for n, m := range ms {
			err := batch.AddMessage(message(m, d.sessions), nil)
			if errors.Is(err, azservicebus.ErrMessageTooLarge) && n > 0 {
				return n, s.SendMessageBatch(ctx, batch, nil)
			}
			if errors.Is(err, azservicebus.ErrMessageTooLarge) {
				return 1, s.SendMessage(ctx, message(m, d.sessions), nil)
			}
			if err != nil {
				return 0, err
			}
		}
		return len(ms), s.SendMessageBatch(ctx, batch, nil)
	})
}

// scheduleSome schedules the first n messages: those that one request holds.
func (d *Dispatcher) scheduleSome(ctx context.Context, l lane, ms []task.Outgoing) (n int, receipts []task.Receipt, err error) {
	var in []*azservicebus.Message
	for total := 0; n < min(len(ms), maxScheduled); n++ {
		total += size(ms[n])
		if n > 0 && total > int(*d.limits.MaxMessageBytes) {
			break
		}
		in = append(in, message(ms[n], d.sessions))
	}
	numbers, err := d.schedule(ctx, l.queue, in, l.due)
	if err != nil {
		return n, nil, err
	}
	for i := range n {
		receipts = append(receipts, receipt(ms[i], numbers[i]))
	}
	return n, receipts, nil
}
