package embedded

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Delivery is a message that its holder has claimed, until it is acknowledged
// or released.
type Delivery struct {
	ID         string // the task's
	Queue      string
	Body       []byte
	Attributes map[string]string
	Count      int  // which delivery of the message this is, from 1
	Dead       bool // a dead letter, to be reported; Count is which attempt at that

	claim uint64
}

// settling is for how long after Open a claim waits until its count is on disk.
// Later ones get there within lazyDelay, unless the process ends before: then a
// message that ends it is claimed again right after the restart, and counted.
const settling = 2 * time.Second

// longestWait is after how long the clock is looked at again: it may be set.
const longestWait = time.Minute

// Claim returns at least one and at most limit messages that are due, the
// longest due first. It waits for one until ctx ends. Errors are Unavailable.
//
// A message delivered as often as it may be is not returned any more but
// becomes a dead letter, and is then returned once as that.
func (d *DB) Claim(ctx context.Context, limit int) ([]Delivery, error) {
	for {
		deliveries, wait, changed, err := d.claimDue(ctx, limit)
		if err != nil || len(deliveries) > 0 {
			return deliveries, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-changed:
		case <-timer.C:
		case <-d.stopped.Done():
			err = unavailable("claim", "", ErrClosed)
		case <-ctx.Done():
			err = unavailable("claim", "", ctx.Err())
		}
		timer.Stop()
		if err != nil {
			return nil, err
		}
	}
}

// claimDue claims what is due now, or says for how long nothing is.
func (d *DB) claimDue(ctx context.Context, limit int) (deliveries []Delivery, wait time.Duration, changed <-chan struct{}, err error) {
	end, err := d.begin(ctx, "claim", "")
	if err != nil {
		return nil, 0, nil, err
	}
	defer end()
	due, wait, changed, err := d.markDue(limit)
	if err != nil {
		return nil, 0, nil, unavailable("claim", "", err)
	}
	for i, c := range due {
		delivery, taken, err := d.take(c)
		if err != nil {
			for _, rest := range due[i:] {
				d.queue.requeued(rest.id, rest.due)
			}
			if len(deliveries) == 0 {
				return nil, 0, nil, unavailable("claim", c.id, err)
			}
			break // what was taken is its holder's; the next claim meets the error
		}
		if taken {
			deliveries = append(deliveries, delivery)
		}
	}
	if len(deliveries) > 0 && d.now().Sub(d.opened) < settling {
		if err := d.sync(); err != nil {
			return nil, 0, nil, unavailable("claim", "", err)
		}
	}
	return deliveries, wait, changed, nil
}

// candidate is an entry that was due and unclaimed.
type candidate struct {
	id    string
	due   int64
	claim uint64
}

// markDue gives claims to the first unclaimed entries that are due. When there
// is none, wait is how long it is to the next.
func (d *DB) markDue(limit int) (due []candidate, wait time.Duration, changed <-chan struct{}, err error) {
	s := &d.queue
	s.mu.Lock()
	defer s.mu.Unlock()
	it, err := d.pebble.NewIter(&pebble.IterOptions{
		LowerBound: timeKey(queueKey, s.low, ""), UpperBound: []byte{queueKey + 1},
	})
	if err != nil {
		return nil, 0, nil, err
	}
	now, next := d.now().UnixMicro(), int64(math.MaxInt64)
	for it.First(); it.Valid() && len(due) < limit; it.Next() {
		micros, id := parseTimeKey(it.Key())
		s.low = micros
		if micros > now {
			next = micros
			break
		}
		if claim, ok := s.claim(id); ok {
			due = append(due, candidate{id, micros, claim})
		}
	}
	if err := it.Close(); err != nil {
		for _, c := range due {
			delete(s.claims, c.id)
			s.add(c.due)
		}
		return nil, 0, nil, err
	}
	if len(due) > 0 {
		return due, 0, s.changed, nil
	}
	s.until = next
	wait = time.Duration(min(next-now, longestWait.Microseconds())) * time.Microsecond
	return nil, wait, s.changed, nil
}

// take counts the delivery and reads the message. False = the entry has gone or
// moved since it was marked, or has been delivered often enough.
func (d *DB) take(c candidate) (_ Delivery, taken bool, err error) {
	defer d.locks.lock(c.id)() // waits until the entry itself is on disk

	e, found, err := d.entry(c.id)
	if err != nil {
		return Delivery{}, false, err
	}
	if !found || e.Due != c.due || !d.queue.holds(c.id, c.claim) {
		d.queue.drop(c.id, c.claim)
		return Delivery{}, false, nil
	}
	m, body, err := d.message(c.id)
	if err != nil {
		return Delivery{}, false, err
	}
	if e.DeadAt == 0 && int64(e.Deliveries) >= m.MaxDeliveries {
		return Delivery{}, false, d.bury(c.id, e)
	}
	delivery := Delivery{ID: c.id, Queue: m.Queue, Body: body, Attributes: m.Attributes, claim: c.claim}
	if e.DeadAt == 0 {
		e.Deliveries++
		delivery.Count = int(e.Deliveries)
	} else {
		e.Reports++
		delivery.Count, delivery.Dead = int(e.Reports), true
	}
	b := d.pebble.NewBatch()
	err = b.Set(idKey(entryKey, c.id), e.encode(), nil)
	if err == nil {
		err = d.commit(b, false)
	}
	return delivery, err == nil, err
}

// Acknowledge ends the delivery: the message is done, and leaves the queue. A
// dead letter stays in the list of them, as reported.
func (d *DB) Acknowledge(ctx context.Context, delivery Delivery) error {
	return d.settle(ctx, "acknowledge", delivery, func(e entry) (err error) {
		b := d.pebble.NewBatch()
		if e.DeadAt == 0 {
			_, err = d.removeEntry(b, delivery.ID)
		} else {
			err = d.move(b, delivery.ID, &e, 0)
		}
		if err == nil {
			err = d.commit(b, false)
		}
		if err == nil {
			d.queue.forget(delivery.ID)
		}
		return err
	})
}

// Release ends the delivery: the message is due again after delay, or is a dead
// letter when this was the last delivery that it may have.
func (d *DB) Release(ctx context.Context, delivery Delivery, delay time.Duration) error {
	return d.settle(ctx, "release", delivery, func(e entry) error {
		m, _, err := d.message(delivery.ID)
		if err != nil {
			return err
		}
		if e.DeadAt == 0 && int64(e.Deliveries) >= m.MaxDeliveries {
			return d.bury(delivery.ID, e)
		}
		due := d.now().Add(max(delay, 0)).UnixMicro()
		b := d.pebble.NewBatch()
		err = d.move(b, delivery.ID, &e, due)
		if err == nil {
			err = d.commit(b, true)
		}
		if err == nil {
			d.queue.requeued(delivery.ID, due)
		}
		return err
	})
}

// settle runs f on the entry of a delivery that is still its holder's; a
// message that was removed or replaced meanwhile is nobody's error.
func (d *DB) settle(ctx context.Context, op string, delivery Delivery, f func(entry) error) error {
	end, err := d.begin(ctx, op, delivery.ID)
	if err != nil {
		return err
	}
	defer end()
	defer d.locks.lock(delivery.ID)()
	if !d.queue.holds(delivery.ID, delivery.claim) {
		return nil
	}
	e, found, err := d.entry(delivery.ID)
	if err == nil && !found {
		err = errors.New("a claim without its entry")
	}
	if err == nil {
		err = f(e)
	}
	if err != nil {
		return unavailable(op, delivery.ID, err)
	}
	return nil
}

// move adds to b that the entry is due at another instant; 0 = never again.
func (d *DB) move(b *pebble.Batch, id string, e *entry, due int64) error {
	err := b.Delete(timeKey(queueKey, e.Due, id), nil)
	e.Due = due
	if due != 0 {
		err = errors.Join(err, b.Set(timeKey(queueKey, due, id), nil, nil))
	}
	return errors.Join(err, b.Set(idKey(entryKey, id), e.encode(), nil))
}
