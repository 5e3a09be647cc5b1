package embedded

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Queue names one queue of a backend.
type Queue struct{ Backend, Name string }

// Feed is the waiting end of one queue: it waits for messages to become due and
// claims them. Each queue has an index of its own, so a backlog in one costs
// the others nothing. The methods may be called concurrently.
type Feed struct {
	Queue Queue

	db      *DB
	cursors []*cursor     // one for each priority, the largest first
	holders int           // calls of DB.Feed that were not closed
	served  bool          // NextFeed has returned it
	gone    bool          // the queue was empty, and is forgotten
	until   int64         // nobody waits for an instant from here on
	changed chan struct{} // closed when a message becomes due before until
}

// cursor is the place in a lane's index before which no unclaimed message is.
type cursor struct {
	feed     *Feed
	priority int8
	prefix   []byte
	low      int64 // no unclaimed message is due before it
	claimed  int   // how many messages of the lane are claimed
}

// schedule is what the process remembers of the queues: which there are, who
// has claimed what, and who waits. None of it is stored: after a restart, a
// pushed message that was not acknowledged is due again at once, or when the
// lease of its attempt ends.
type schedule struct {
	mu     sync.Mutex
	feeds  map[Queue]*Feed
	dead   *Feed           // the reports of dead letters
	fresh  map[Queue]*Feed // those of feeds that NextFeed has not returned yet
	grown  chan struct{}   // closed when fresh grows
	claims map[string]*claim
}

// claim is the right to one delivery of a message.
type claim struct {
	cursor  *cursor
	started chan struct{} // closed when an attempt starts
	running bool          // started is closed
	lease   int64         // the end of the running attempt's lease, in microseconds; 0 = none is known
}

func (c *claim) start() {
	if !c.running {
		c.running = true
		close(c.started)
	}
}

func (d *DB) initSchedule() error {
	d.queue = schedule{
		feeds: map[Queue]*Feed{}, fresh: map[Queue]*Feed{}, grown: make(chan struct{}), claims: map[string]*claim{},
	}
	s := &d.queue
	s.dead = d.newFeed(Queue{})
	s.dead.cursors = []*cursor{{feed: s.dead, prefix: []byte{reportKey}, low: math.MinInt64}}
	it, err := d.pebble.NewIter(&pebble.IterOptions{LowerBound: []byte{waitingKey}, UpperBound: []byte{waitingKey + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; {
		l, err := parseLane(it.Key())
		if err != nil {
			return errors.Join(err, it.Close())
		}
		d.open(l, math.MinInt64)
		ok = it.SeekGE(successor(l.prefix()))
	}
	return it.Close()
}

func (d *DB) newFeed(q Queue) *Feed {
	return &Feed{Queue: q, db: d, until: math.MinInt64, changed: make(chan struct{})}
}

// Feed returns the feed of a queue, which need not exist yet. The caller closes it.
func (d *DB) Feed(q Queue) *Feed {
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	f := d.feed(q)
	f.holders++
	return f
}

// Close ends the use of what [DB.Feed] returned.
func (f *Feed) Close() {
	f.db.queue.mu.Lock()
	defer f.db.queue.mu.Unlock()
	f.holders--
	f.forgetEmpty()
}

// DeadLetterFeed returns the feed of the dead letters that nobody has reported.
func (d *DB) DeadLetterFeed() *Feed { return d.queue.dead }

// NextFeed waits for a queue with messages that it has not returned before, or
// that was empty and forgotten since. Errors are Unavailable.
func (d *DB) NextFeed(ctx context.Context) (*Feed, error) {
	s := &d.queue
	for {
		s.mu.Lock()
		grown := s.grown
		for q, f := range s.fresh {
			delete(s.fresh, q)
			f.served = true
			s.mu.Unlock()
			return f, nil
		}
		s.mu.Unlock()
		if err := d.wait(ctx, "next queue", grown, longestWait); err != nil {
			return nil, err
		}
	}
}

// longestWait is after how long the clock is looked at again: it may be set.
const longestWait = time.Minute

// Wait returns true when a message of the queue may be due, and false when the
// queue is empty and forgotten: NextFeed returns it when it has messages again.
// Errors are Unavailable.
func (f *Feed) Wait(ctx context.Context) (bool, error) {
	s := &f.db.queue
	for {
		s.mu.Lock()
		next, now := f.next(), f.db.now().UnixMicro()
		if f.gone || next <= now {
			s.mu.Unlock()
			return !f.gone, nil
		}
		f.until = max(f.until, next)
		changed := f.changed
		s.mu.Unlock()
		wait := min(longestWait, time.Duration(min(next-now, longestWait.Microseconds()))*time.Microsecond)
		if err := f.db.wait(ctx, "wait for "+f.Queue.Name, changed, wait); err != nil {
			return false, err
		}
	}
}

// wait returns when something has changed or the time is over; its errors are
// Unavailable.
func (d *DB) wait(ctx context.Context, op string, changed <-chan struct{}, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-d.stopped.Done():
		return unavailable(op, "", ErrClosed)
	case <-ctx.Done():
		return unavailable(op, "", ctx.Err())
	}
	return nil
}

// The methods below are called with the schedule's lock held.

// feed returns the queue's feed, and makes it if there is none.
func (d *DB) feed(q Queue) *Feed {
	s := &d.queue
	f := s.feeds[q]
	if f == nil {
		f = d.newFeed(q)
		s.feeds[q] = f
	}
	return f
}

// open returns the lane's feed and cursor, and makes them if there are none.
func (d *DB) open(l lane, low int64) (*Feed, *cursor) {
	s := &d.queue
	f := d.feed(l.Queue)
	i, found := slices.BinarySearchFunc(f.cursors, l.Priority, func(c *cursor, p int8) int { return int(p) - int(c.priority) })
	if !found {
		if len(f.cursors) == 0 && !f.served {
			s.fresh[l.Queue] = f
			close(s.grown)
			s.grown = make(chan struct{})
		}
		f.cursors = slices.Insert(f.cursors, i, &cursor{feed: f, priority: l.Priority, prefix: l.prefix(), low: low})
	}
	return f, f.cursors[i]
}

// next returns the instant before which no unclaimed message is due.
func (f *Feed) next() int64 {
	next := int64(math.MaxInt64)
	for _, c := range f.cursors {
		next = min(next, c.low)
	}
	return next
}

// add makes an unclaimed entry known, which is in the database.
func (d *DB) add(e entry) {
	f, c := d.queue.dead, d.queue.dead.cursors[0]
	if e.DeadAt == 0 {
		f, c = d.open(e.lane, e.Due)
	}
	c.low = min(c.low, e.Due)
	if e.Due < f.until {
		f.wake()
	}
}

func (f *Feed) wake() {
	close(f.changed)
	f.changed, f.until = make(chan struct{}), math.MinInt64
}

// endClaim ends the claim on a message, if there is one. A message that is due
// again is added before.
func (d *DB) endClaim(id string) {
	if c := d.queue.claims[id]; c != nil {
		c.cursor.claimed--
		delete(d.queue.claims, id)
		c.cursor.forgetEmpty()
	}
}

// scan calls visit with the unclaimed messages that are due, the largest
// priority first and within it the longest due, until it returns false.
func (f *Feed) scan(visit func(c *cursor, id string, due int64) (more bool)) error {
	now, more := f.db.now().UnixMicro(), true
	for _, c := range slices.Clone(f.cursors) {
		if c.low > now {
			continue // known without reading
		}
		var err error
		if more, err = f.db.advance(c, now, visit); err != nil || !more {
			return err
		}
		c.forgetEmpty()
	}
	return nil
}

// advance does so for one lane, and moves its cursor to where visit stopped.
func (d *DB) advance(c *cursor, now int64, visit func(c *cursor, id string, due int64) bool) (more bool, err error) {
	it, err := d.pebble.NewIter(&pebble.IterOptions{LowerBound: dueKey(c.prefix, c.low, ""), UpperBound: successor(c.prefix)})
	if err != nil {
		return false, err
	}
	low, more := int64(math.MaxInt64), true
	for it.First(); it.Valid(); it.Next() {
		d.examined.Add(1)
		due, id := parseDueKey(it.Key(), len(c.prefix))
		if due <= now && d.queue.claims[id] != nil {
			continue
		}
		if due > now {
			low = due
			break
		}
		if more = visit(c, id, due); !more {
			low = due
			break
		}
	}
	if err := it.Close(); err != nil {
		return false, err
	}
	c.low = low
	return more, nil
}

// forgetEmpty forgets a lane without messages.
func (c *cursor) forgetEmpty() {
	f := c.feed
	if c.low != math.MaxInt64 || c.claimed > 0 || f == f.db.queue.dead {
		return
	}
	f.cursors = slices.DeleteFunc(f.cursors, func(other *cursor) bool { return other == c })
	f.forgetEmpty()
}

// forgetEmpty forgets a queue without messages that nobody holds.
func (f *Feed) forgetEmpty() {
	s := &f.db.queue
	if f.gone || f.holders > 0 || len(f.cursors) > 0 {
		return
	}
	f.gone = true
	delete(s.feeds, f.Queue)
	delete(s.fresh, f.Queue)
	f.wake()
}
