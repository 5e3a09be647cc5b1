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

// Feed waits until messages of one queue are due, and claims them. Each queue has
// its own index, so a backlog in one queue does not slow down the others. The
// methods may be called concurrently.
type Feed struct {
	Queue Queue

	db      *DB
	cursors []*cursor     // one for each priority, the largest priority first
	holders int           // how many callers of DB.Feed have not called Close
	served  bool          // NextFeed has returned this feed
	gone    bool          // the queue was empty, so the schedule has dropped this feed
	until   int64         // the latest time that a Wait sleeps to; an earlier message must wake it
	changed chan struct{} // closed when a message is added that is due before until
}

// cursor is a position in a lane's index. All messages before it are claimed.
type cursor struct {
	feed     *Feed
	priority int8
	prefix   []byte
	low      int64 // every message that is due before low is claimed
	claimed  int   // the number of claimed messages of the lane
}

// schedule is the state of the queues in memory: the queues, the claims and the
// waiting callers. It is not stored. After a restart, a pushed message without an
// acknowledgement is due again at once, or when the lease of its attempt ends.
type schedule struct {
	mu     sync.Mutex
	feeds  map[Queue]*Feed
	dead   *Feed           // the feed of dead letters whose report is due
	fresh  map[Queue]*Feed // the feeds with messages that NextFeed has not returned yet
	grown  chan struct{}   // closed when a feed is added to fresh
	claims map[string]*claim
}

// claim is the right to one delivery of a message.
type claim struct {
	cursor  *cursor
	started chan struct{} // closed when an attempt starts
	running bool          // whether started is closed
	lease   int64         // the end of the running attempt's lease in microseconds; 0 = none known
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

// Feed returns the feed of a queue. The queue need not have messages yet. The
// caller must call Close on the feed.
func (d *DB) Feed(q Queue) *Feed {
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	f := d.feed(q)
	f.holders++
	return f
}

// Close ends one use of a feed that [DB.Feed] returned.
func (f *Feed) Close() {
	f.db.queue.mu.Lock()
	defer f.db.queue.mu.Unlock()
	f.holders--
	f.forgetEmpty()
}

// DeadLetterFeed returns the feed of the dead letters that are not reported yet.
func (d *DB) DeadLetterFeed() *Feed { return d.queue.dead }

// NextFeed waits for a queue that has messages and that NextFeed has not returned
// yet. It returns a queue again when the queue was empty meanwhile and its feed was
// dropped (see [Feed.Wait]). Errors are Unavailable.
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

// longestWait is the longest time until a waiting caller reads the clock again,
// because somebody may set the clock.
const longestWait = time.Minute

// Wait returns true when a message of the queue may be due. It returns false when
// the queue is empty and the feed was dropped; NextFeed returns a new feed when the
// queue has messages again. Errors are Unavailable.
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

// wait returns nil when changed is closed or the time is over. Errors are
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

// The caller of the methods below holds the schedule's lock.

// feed returns the queue's feed. It makes the feed if there is none.
func (d *DB) feed(q Queue) *Feed {
	s := &d.queue
	f := s.feeds[q]
	if f == nil {
		f = d.newFeed(q)
		s.feeds[q] = f
	}
	return f
}

// open returns the lane's feed and cursor. It makes them if there are none.
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

// next returns the earliest time at which an unclaimed message may be due.
func (f *Feed) next() int64 {
	next := int64(math.MaxInt64)
	for _, c := range f.cursors {
		next = min(next, c.low)
	}
	return next
}

// add tells the entry's feed about an unclaimed entry that is in the database.
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

// wake wakes all callers of Wait.
func (f *Feed) wake() {
	close(f.changed)
	f.changed, f.until = make(chan struct{}), math.MinInt64
}

// endClaim ends the claim on a message, if there is one. If the message is due
// again, the caller calls add first.
func (d *DB) endClaim(id string) {
	if c := d.queue.claims[id]; c != nil {
		c.cursor.claimed--
		delete(d.queue.claims, id)
		c.cursor.forgetEmpty()
	}
}

// scan calls visit with each due and unclaimed message until visit returns false.
// The largest priority comes first; within one priority, the message that has been
// due longest comes first.
func (f *Feed) scan(visit func(c *cursor, id string, due int64) (more bool)) error {
	now, more := f.db.now().UnixMicro(), true
	for _, c := range slices.Clone(f.cursors) {
		if c.low > now {
			continue // no message of this lane is due, so there is nothing to read
		}
		var err error
		if more, err = f.db.advance(c, now, visit); err != nil || !more {
			return err
		}
		c.forgetEmpty()
	}
	return nil
}

// advance does the work of scan for one lane. It moves the lane's cursor to the
// first message that is not claimed afterwards.
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

// forgetEmpty drops the cursor of a lane without messages.
func (c *cursor) forgetEmpty() {
	f := c.feed
	if c.low != math.MaxInt64 || c.claimed > 0 || f == f.db.queue.dead {
		return
	}
	f.cursors = slices.DeleteFunc(f.cursors, func(other *cursor) bool { return other == c })
	f.forgetEmpty()
}

// forgetEmpty drops the feed of a queue without messages, if no caller of DB.Feed
// uses the feed.
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
