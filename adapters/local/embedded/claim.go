package embedded

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Delivery is a message that its holder has claimed, until the holder
// acknowledges, releases or refuses it.
type Delivery struct {
	Queue
	ID         string // the task's
	Body       []byte
	Attributes map[string]string
	Count      int       // which delivery of the message this is, from 1
	Dead       bool      // a dead letter, to be reported; Count is which attempt at that
	Refusals   int       // how often the message was refused while others were taken
	RefusedAt  time.Time // when it was last refused; zero = never

	db    *DB
	claim *claim
}

// Started is closed when an attempt at the task starts during this delivery.
func (d Delivery) Started() <-chan struct{} {
	if d.claim == nil {
		return nil
	}
	return d.claim.started
}

// LeaseUntil returns the end of the lease of the attempt that runs, as far as
// this delivery has seen one; zero = none.
func (d Delivery) LeaseUntil() time.Time {
	if d.claim == nil {
		return time.Time{}
	}
	d.db.queue.mu.Lock()
	defer d.db.queue.mu.Unlock()
	if d.claim.lease == 0 {
		return time.Time{}
	}
	return time.UnixMicro(d.claim.lease)
}

// syncClaimsFor is for how long after Open a claim waits until its count is on disk.
// Later ones get there within lazyDelay, unless the process ends before: then a
// message that ends it is claimed again right after the restart, and counted.
const syncClaimsFor = 2 * time.Second

// candidate is a message that was due and unclaimed, and now has a claim.
type candidate struct {
	id    string
	due   int64
	claim *claim
}

// Claim returns at most limit messages of the queue that are due, perhaps none:
// the largest priority first and within it the longest due. Errors are
// Unavailable.
//
// A message delivered as often as it may be is not returned any more but
// becomes a dead letter, which the dead letters' feed returns.
func (f *Feed) Claim(ctx context.Context, limit int) (deliveries []Delivery, err error) {
	d := f.db
	end, err := d.begin(ctx, "claim", "")
	if err != nil {
		return nil, err
	}
	defer end()
	due, err := f.claimDue(limit)
	if err != nil {
		return nil, unavailable("claim", "", err)
	}
	for i, c := range due {
		delivery, taken, err := d.take(c)
		if err != nil {
			d.unclaim(due[i:])
			if len(deliveries) == 0 {
				return nil, unavailable("claim", c.id, err)
			}
			break // what was taken is its holder's; the next claim meets the error
		}
		if taken {
			deliveries = append(deliveries, delivery)
		}
	}
	if len(deliveries) > 0 && d.now().Sub(d.opened) < syncClaimsFor {
		if err := d.sync(); err != nil {
			return nil, unavailable("claim", "", err)
		}
	}
	return deliveries, nil
}

// claimDue gives claims to the first unclaimed messages that are due.
func (f *Feed) claimDue(limit int) (due []candidate, err error) {
	s := &f.db.queue
	s.mu.Lock()
	defer s.mu.Unlock()
	err = f.scan(func(c *cursor, id string, at int64) bool {
		if len(due) == limit {
			return false
		}
		s.claims[id] = &claim{cursor: c, started: make(chan struct{})}
		c.claimed++
		due = append(due, candidate{id, at, s.claims[id]})
		return true
	})
	if err != nil {
		f.db.unclaimLocked(due)
	}
	return due, err
}

// unclaim gives marked messages back as they were.
func (d *DB) unclaim(due []candidate) {
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	d.unclaimLocked(due)
}

func (d *DB) unclaimLocked(due []candidate) {
	for _, c := range due {
		if d.queue.claims[c.id] == c.claim {
			c.claim.cursor.low = min(c.claim.cursor.low, c.due)
			d.endClaim(c.id)
		}
	}
}

// take counts the delivery and reads the message. False = the entry has gone or
// moved since it was marked, or has been delivered often enough.
func (d *DB) take(c candidate) (_ Delivery, taken bool, err error) {
	defer d.locks.lock(c.id)() // waits until the entry itself is on disk

	e, found, err := d.claimedEntry(c)
	if err != nil || !found {
		return Delivery{}, false, err
	}
	b := d.pebble.NewBatch()
	next := e
	if e.outOfDeliveries() {
		next.makeDead(d.now())
		if err := d.put(b, c.id, e, next); err != nil {
			return Delivery{}, false, err
		}
		return Delivery{}, false, d.commitMove(b, c.id, next, true)
	}
	delivery, err := d.delivery(c, e)
	if err != nil {
		return Delivery{}, false, err
	}
	if e.DeadAt == 0 {
		next.Deliveries++
		delivery.Count = int(next.Deliveries)
	} else {
		next.Reports++
		delivery.Count, delivery.Dead = int(next.Reports), true
	}
	if err = d.put(b, c.id, e, next); err == nil {
		err = d.commit(b, false)
	}
	return delivery, err == nil, err
}

// marked returns the entry of a marked message, under its lock. When it has
// gone or moved since, its claim ends.
func (d *DB) claimedEntry(c candidate) (e entry, found bool, err error) {
	e, found, err = d.entry(c.id)
	if err != nil || found && e.Due == c.due && d.holds(c.id, c.claim) {
		return e, found, err
	}
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	if d.queue.claims[c.id] == c.claim {
		if found && e.Due != 0 {
			d.add(e)
		}
		d.endClaim(c.id)
	}
	return entry{}, false, nil
}

func (d *DB) delivery(c candidate, e entry) (Delivery, error) {
	m, body, err := d.message(c.id)
	delivery := Delivery{
		Queue: e.lane.Queue, ID: c.id, Body: body, Attributes: m.Attributes, Refusals: int(e.Refusals), db: d, claim: c.claim,
	}
	if e.RefusedAt != 0 {
		delivery.RefusedAt = time.UnixMicro(e.RefusedAt)
	}
	return delivery, err
}

// holds reports whether the claim is still the message's.
func (d *DB) holds(id string, c *claim) bool {
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	return d.queue.claims[id] == c
}

// Acknowledge ends the delivery: the message is done, and leaves the queue. A
// dead letter stays in the list of them, as reported.
func (d *DB) Acknowledge(ctx context.Context, delivery Delivery) error {
	return d.endDelivery(ctx, "acknowledge", delivery, false, (*entry).done)
}

// Backoff as the delay of a release leaves the wait to the queue.
const Backoff time.Duration = -1

// Release ends the delivery: the message is due again after delay, but not
// before the end of a lease that the task's attempt holds. When this was the
// last delivery that it may have, it is a dead letter at once.
func (d *DB) Release(ctx context.Context, delivery Delivery, delay time.Duration) error {
	return d.endDelivery(ctx, "release", delivery, true, func(e *entry) { e.release(d.now(), delay) })
}

// Refuse ends a delivery that was none, because the worker was too busy to take
// the message: it is not counted. The message is due again after delay. Counted
// = the refusal itself is counted, in [Delivery.Refusals].
func (d *DB) Refuse(ctx context.Context, delivery Delivery, delay time.Duration, counted bool) error {
	return d.endDelivery(ctx, "refuse", delivery, false, func(e *entry) {
		now := d.now()
		e.Deliveries = min(e.Deliveries, uint32(delivery.Count-1))
		e.RefusedAt = now.UnixMicro()
		if counted {
			e.Refusals++
		}
		e.Due = max(now.Add(delay).UnixMicro(), e.HeldUntil)
	})
}

// settle changes the entry of a delivery that is still its holder's, and ends
// the claim. That the message was removed or replaced meanwhile is no error.
func (d *DB) endDelivery(ctx context.Context, op string, delivery Delivery, durable bool, change func(*entry)) error {
	end, err := d.begin(ctx, op, delivery.ID)
	if err != nil {
		return err
	}
	defer end()
	defer d.locks.lock(delivery.ID)()
	if !d.holds(delivery.ID, delivery.claim) {
		return nil
	}
	e, found, err := d.entry(delivery.ID)
	if err == nil && !found {
		err = errors.New("a claim without its message")
	}
	if err == nil {
		next := e
		change(&next)
		b := d.pebble.NewBatch()
		if err = d.put(b, delivery.ID, e, next); err == nil {
			err = d.commitMove(b, delivery.ID, next, durable)
		}
	}
	if err != nil {
		return unavailable(op, delivery.ID, err)
	}
	return nil
}

// commitMove commits a batch that moves an entry, and ends its claim.
func (d *DB) commitMove(b *pebble.Batch, id string, e entry, durable bool) error {
	if err := d.commit(b, durable || e.DeadAt != 0); err != nil {
		return err
	}
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	if e.Due != 0 {
		d.add(e)
	}
	d.endClaim(id)
	return nil
}

// outOfDeliveries reports whether the message may not be delivered again.
func (e entry) outOfDeliveries() bool { return e.DeadAt == 0 && e.Deliveries >= e.MaxDeliveries }

// handedOut is how often the message, or the dead letter, was handed out.
func (e entry) handedOut() uint32 {
	if e.DeadAt != 0 {
		return e.Reports
	}
	return e.Deliveries
}

// done ends the entry: the message is removed, or the dead letter is reported.
func (e *entry) done() { e.Due = 0 }

// release makes the entry due after delay, or a dead letter.
func (e *entry) release(now time.Time, delay time.Duration) {
	if e.outOfDeliveries() {
		e.makeDead(now)
		return
	}
	if delay == Backoff {
		delay = backoff(e.handedOut())
	}
	e.Due = max(now.Add(delay).UnixMicro(), e.HeldUntil)
}

// makeDead makes the entry a dead letter whose report is due at once.
func (e *entry) makeDead(now time.Time) {
	e.DeadAt = now.UnixMicro()
	e.Due, e.HeldUntil = e.DeadAt, 0
}

// The wait before a redelivery is drawn from 0 to a bound that doubles with each
// delivery from minBackoff to maxBackoff.
const (
	minBackoff = time.Second
	maxBackoff = 5 * time.Minute
)

// backoff is how long to wait after the count-th delivery, with full jitter, so
// that messages that failed together do not come again together.
func backoff(count uint32) time.Duration {
	bound := maxBackoff
	if count < 10 { // 1 s · 2⁹ is beyond maxBackoff
		bound = min(bound, minBackoff<<max(int(count)-1, 0))
	}
	return rand.N(bound) + time.Millisecond
}
