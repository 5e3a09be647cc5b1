package embedded

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Delivery is a claimed message. The delivery ends when its holder acknowledges,
// releases or refuses the message.
type Delivery struct {
	Queue
	ID         string // the task's id
	Body       []byte
	Attributes map[string]string
	Count      int       // which delivery of the message this is, from 1
	Dead       bool      // the message is a dead letter to report; Count is then which attempt to report it
	Refusals   int       // how often the worker refused this message while it accepted others
	RefusedAt  time.Time // when the worker last refused this message; zero = never

	db    *DB
	claim *claim
}

// Started returns a channel that is closed when an attempt at the task starts during
// this delivery.
func (d Delivery) Started() <-chan struct{} {
	if d.claim == nil {
		return nil
	}
	return d.claim.started
}

// LeaseUntil returns the end of the running attempt's lease. Zero = no attempt
// has reported a lease during this delivery.
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

// syncClaimsFor is how long after Open each claim syncs its delivery count to
// disk before it returns. Later, counts reach the disk within lazyDelay, so a
// crash can lose the last ones. A message that crashes the process is claimed
// again right after the restart. That delivery is then counted durably, so the
// message runs out of deliveries in the end.
const syncClaimsFor = 2 * time.Second

// candidate is a due message that claimDue has claimed.
type candidate struct {
	id    string
	due   int64
	claim *claim
}

// Claim claims and returns at most limit due messages of the queue, perhaps none.
// The largest priority comes first; within one priority, the message that has been
// due longest comes first. Errors are Unavailable.
//
// Claim does not return a message that is out of deliveries. That message becomes
// a dead letter, and the feed of dead letters returns it.
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
			break // the caller holds the deliveries so far; the next Claim returns the error
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

// claimDue claims the first due messages that nobody has claimed.
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

// unclaim ends these claims; the messages stay unchanged in the queue.
func (d *DB) unclaim(due []candidate) {
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	d.unclaimLocked(due)
}

func (d *DB) unclaimLocked(due []candidate) {
	for _, c := range due {
		if d.queue.claims[c.id] == c.claim {
			c.claim.cursor.low = min(c.claim.cursor.low, c.due)
			if f := c.claim.cursor.feed; c.due < f.until {
				f.wake() // another caller may have found nothing and wait
			}
			d.endClaim(c.id)
		}
	}
}

// take counts the delivery and reads the message. It returns false when the entry
// was removed or moved after it was claimed, or when the message is out of
// deliveries.
func (d *DB) take(c candidate) (_ Delivery, taken bool, err error) {
	defer d.locks.lock(c.id)() // waits until the entry is on disk

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

// claimedEntry returns the entry of a claimed message. The caller holds the id's
// lock. If the entry was removed or moved after the claim, claimedEntry ends the
// claim and returns false.
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

// holds reports whether c is still the current claim on the message.
func (d *DB) holds(id string, c *claim) bool {
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	return d.queue.claims[id] == c
}

// Acknowledge ends the delivery and removes the message from the queue. A dead
// letter stays in the list of dead letters and counts as reported.
func (d *DB) Acknowledge(ctx context.Context, delivery Delivery) error {
	return d.endDelivery(ctx, "acknowledge", delivery, false, (*entry).done)
}

// Backoff is a delay for [DB.Release]: the queue chooses the delay itself, and
// the delay grows with each delivery.
const Backoff time.Duration = -1

// Release ends the delivery. The message is due again after delay, but not before
// the end of a lease that an attempt at the task holds. If the message is out of
// deliveries, it becomes a dead letter at once.
func (d *DB) Release(ctx context.Context, delivery Delivery, delay time.Duration) error {
	return d.endDelivery(ctx, "release", delivery, true, func(e *entry) { e.release(d.now(), delay) })
}

// Refuse ends a delivery that the worker was too busy to accept. The delivery is
// not counted, and the message is due again after delay. If counted is true,
// [Delivery.Refusals] grows by one.
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

// endDelivery changes the entry and ends the claim, if the holder still has the
// claim. If the message was removed or replaced meanwhile, endDelivery does
// nothing and returns nil.
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
		err = errors.New("the claimed message is not in the database")
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

// commitMove commits a batch that moves an entry, and ends the entry's claim.
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

// outOfDeliveries reports whether the message has had all its deliveries.
func (e entry) outOfDeliveries() bool { return e.DeadAt == 0 && e.Deliveries >= e.MaxDeliveries }

// handedOut returns how often the message was delivered; for a dead letter, how
// often its report was.
func (e entry) handedOut() uint32 {
	if e.DeadAt != 0 {
		return e.Reports
	}
	return e.Deliveries
}

// done makes the entry never due again: put then removes the message, or keeps the
// dead letter as reported.
func (e *entry) done() { e.Due = 0 }

// release makes the entry due after delay. If the message is out of deliveries,
// release makes it a dead letter instead.
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

// The wait before a redelivery is random, between 0 and a bound. The bound starts
// at minBackoff and doubles with each delivery, up to maxBackoff.
const (
	minBackoff = time.Second
	maxBackoff = 5 * time.Minute
)

// backoff returns the wait after the count-th delivery. The full jitter spreads
// the redeliveries of messages that failed at the same time.
func backoff(count uint32) time.Duration {
	bound := maxBackoff
	if count < 10 { // 1 s · 2⁹ is beyond maxBackoff
		bound = min(bound, minBackoff<<max(int(count)-1, 0))
	}
	return rand.N(bound) + time.Millisecond
}
