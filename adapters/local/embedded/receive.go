package embedded

import (
	"context"
	"errors"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// maxReceiveBytes is the maximum total size of the messages that one call of
// Receive returns. The first message is returned whatever its size.
const maxReceiveBytes = 4 << 20

// Receive implements [task.Receiver].
func (q *Dispatcher) Receive(ctx context.Context, queue string, limit int, visibility, wait time.Duration) ([]task.Received, error) {
	f := q.db.Feed(Queue{q.backend, queue})
	defer f.Close()
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		received, err := f.receive(ctx, limit, visibility)
		if err != nil || len(received) > 0 {
			return received, err
		}
		if _, err := f.Wait(waiting); waiting.Err() != nil && ctx.Err() == nil {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
	}
}

// receive hides the due messages for the visibility in one commit, and returns them.
func (f *Feed) receive(ctx context.Context, limit int, visibility time.Duration) (received []task.Received, err error) {
	d := f.db
	end, err := d.begin(ctx, "receive", "")
	if err != nil {
		return nil, err
	}
	defer end()
	due, err := f.claimDue(limit)
	if err != nil || len(due) == 0 {
		return nil, wrap("receive", "", err)
	}
	defer d.unclaim(due) // has no effect on the messages that are moved below
	ids := make([]string, len(due))
	for i, c := range due {
		ids[i] = c.id
	}
	defer d.locks.lock(ids...)()
	b, size := d.pebble.NewBatch(), 0
	moved := map[string]entry{}
	for _, c := range due {
		e, found, err := d.claimedEntry(c)
		if err != nil || !found {
			if err != nil {
				return nil, unavailable("receive", c.id, err)
			}
			continue
		}
		next := e
		if e.outOfDeliveries() {
			next.makeDead(d.now())
		} else {
			delivery, err := d.delivery(c, e)
			if err != nil {
				return nil, unavailable("receive", c.id, err)
			}
			if size += len(delivery.Body); size > maxReceiveBytes && len(received) > 0 {
				break
			}
			next.Deliveries++
			next.Due = d.now().Add(visibility).UnixMicro()
			received = append(received, task.Received{
				Body: delivery.Body, Attributes: delivery.Attributes, Deliveries: int(next.Deliveries),
			})
		}
		if err := d.put(b, c.id, e, next); err != nil {
			return nil, unavailable("receive", c.id, errors.Join(err, b.Close()))
		}
		moved[c.id] = next
	}
	if err := d.commit(b, true); err != nil {
		return nil, unavailable("receive", "", err)
	}
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	for id, e := range moved {
		d.add(e)
		d.endClaim(id)
	}
	return received, nil
}
