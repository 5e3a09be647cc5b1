package task

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"sync"
	"time"
)

// Reading is a task as one read found it. Requests that wait for one task share
// their readings, so nobody may change one.
type Reading struct {
	Document
	owner     string
	changesAt time.Time // when only time changes the task; zero = never
	rendered  func() ([]byte, error)
	sum       [sha256.Size]byte // of what rendered returns
}

// Render returns the document as JSON, and its SHA-256. The work is done once for
// all that share the reading. The caller must not change the bytes.
func (r *Reading) Render() ([]byte, [sha256.Size]byte, error) {
	b, err := r.rendered()
	return b, r.sum, err
}

func newReading(r *Record, now time.Time) *Reading {
	reading := &Reading{Document: r.Document(now), owner: r.Owner, changesAt: r.timeChangesAt()}
	reading.rendered = sync.OnceValues(func() ([]byte, error) {
		b, err := encode(reading.Document)
		if err != nil {
			return nil, &Error{Kind: Internal, Msg: "cannot encode the task", Err: err, TaskID: reading.ID}
		}
		b = append(b, '\n')
		reading.sum = sha256.Sum256(b)
		return b, nil
	})
	return reading
}

// timeChangesAt returns the time from which [Record.applyTime] would change this record;
// zero = never.
func (r *Record) timeChangesAt() time.Time {
	switch {
	case r.fromLaterVersion():
	case r.Status == Ready && r.Attempts() == 0:
		return r.ExpiresAt.Time
	case r.Status == Running && r.CancelRequested:
		return r.LeaseUntil.Time
	}
	return time.Time{}
}

// Get returns the task as soon as it is finished, or as it stands when wait is
// over. Its error is UnknownTask when the caller can see no such task.
//
// A wait is cheap. It keeps no record in memory between two reads. Requests of one
// process that wait for the same task share reads: every request that waits before
// a read begins gets the result of that read. The reads become rarer, at most 12 in
// 20 s; in a store that can watch a record, there are none until the record
// changes.
func (s *Service) Get(ctx context.Context, call Call, id string, wait time.Duration) (*Reading, error) {
	wait = min(wait, s.MaxWait)
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline)-cleanupTime) // the answer takes time, too
	}
	if wait <= 0 || !validID(id) {
		return s.readFor(ctx, id, call.maySee)
	}
	start := s.Now()
	room := s.waits.enter(id)
	defer s.waits.leave(id)
	for {
		changed, stop := s.watch(id)
		reading, err := room.read(ctx, func() (*Reading, error) {
			return s.readFor(ctx, id, func(*Record) bool { return true })
		})
		switch {
		case err != nil:
			stop()
			return nil, err
		case !call.Admin && call.Owner != reading.owner:
			stop()
			return nil, unknownTask()
		}
		waited := s.Now().Sub(start)
		if reading.IsFinished || waited >= wait {
			stop()
			return reading, nil
		}
		changesAt := reading.changesAt
		reading = nil // it may be large, and the wait long
		ended, err := room.wait(ctx, changed, func() time.Duration {
			now := s.Now()
			pause := wait - now.Sub(start)
			if changed == nil {
				pause = nextPause(now.Sub(start), pause)
			}
			if !changesAt.IsZero() {
				pause = min(pause, changesAt.Sub(now))
			}
			return pause
		})
		stop()
		switch {
		case err != nil:
			return nil, err
		case ended != nil && !call.Admin && ended.owner != call.Owner: // another task has taken the id over
			return nil, unknownTask()
		case ended != nil:
			return ended, nil
		}
	}
}

// readFor reads the task, and writes what time alone has changed of it.
func (s *Service) readFor(ctx context.Context, id string, visible func(*Record) bool) (*Reading, error) {
	r, err := s.update(ctx, id, visible, func(r *Record) (bool, error) {
		return r.applyTime(s.Now(), s.ResultTTL), nil
	})
	if err != nil {
		return nil, err
	}
	return newReading(r, s.Now()), nil
}

// watch returns a channel that is closed when the record changes after this
// call, or nil if the store cannot tell.
func (s *Service) watch(id string) (changed <-chan struct{}, stop func()) {
	if w, ok := s.Store.(Watcher); ok {
		return w.Watch(id)
	}
	return nil, func() {}
}

// A wait reads the record again soon at first, for tasks of milliseconds. Then
// the pauses grow with the time that it has waited, up to longestPause.
const (
	shortestPause = 50 * time.Millisecond
	longestPause  = 3500 * time.Millisecond
)

// nextPause returns the pause before the next read. waited is how long the request
// has waited, and left is how long it may still wait. If a pause would leave less
// than half a pause, nextPause returns left.
func nextPause(waited, left time.Duration) time.Duration {
	pause := min(max(waited*3/2, shortestPause), longestPause)
	pause += rand.N(pause / 10)
	if left-pause < pause/2 {
		return left
	}
	return pause
}

// waits are the tasks that requests wait for, by id. The zero value is ready.
type waits struct {
	mu    sync.Mutex
	rooms map[string]*room
}

// room is where the requests that wait for one task share its reads.
type room struct {
	mu      sync.Mutex
	waiting int
	newest  *sharedRead   // nil = no read is running or about to begin
	seen    chan struct{} // closed and replaced when a read has succeeded
	ended   *Reading      // not nil = a read has found the task finished
}

// sharedRead is one read. Whoever comes before it begins gets its result.
type sharedRead struct {
	begun   bool
	done    chan struct{} // closed when it is over
	reading *Reading
	err     error
	again   bool // the request that made it has ended, so the result says nothing
}

func (w *waits) enter(id string) *room {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rooms == nil {
		w.rooms = map[string]*room{}
	}
	r := w.rooms[id]
	if r == nil {
		r = &room{seen: make(chan struct{})}
		w.rooms[id] = r
	}
	r.waiting++
	return r
}

func (w *waits) leave(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.rooms[id]; r != nil {
		if r.waiting--; r.waiting == 0 {
			delete(w.rooms, id)
		}
	}
}

// read returns the result of a read that began after this call. Reads of one
// room never overlap.
func (r *room) read(ctx context.Context, read func() (*Reading, error)) (*Reading, error) {
	for {
		r.mu.Lock()
		before := r.newest
		if before != nil && !before.begun {
			r.mu.Unlock()
			select {
			case <-before.done:
			case <-ctx.Done():
				return nil, errWaitEnded(ctx)
			}
			if before.again {
				continue
			}
			return before.reading, before.err
		}
		mine := &sharedRead{done: make(chan struct{})}
		r.newest = mine
		r.mu.Unlock()
		if before != nil {
			select {
			case <-before.done:
			case <-ctx.Done():
			}
		}
		r.mu.Lock()
		mine.begun = true
		r.mu.Unlock()
		if mine.err = errWaitEnded(ctx); ctx.Err() == nil {
			mine.reading, mine.err = read()
		}
		r.finish(mine, ctx.Err() != nil)
		return mine.reading, mine.err
	}
}

// finish hands the result of a read to everybody in the room.
func (r *room) finish(s *sharedRead, again bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.again = again
	if r.newest == s {
		r.newest = nil
	}
	if s.err == nil {
		if r.ended = nil; s.reading.IsFinished {
			r.ended = s.reading
		}
		close(r.seen)
		r.seen = make(chan struct{})
	}
	close(s.done)
}

// wait returns when it is time for the next read: the pause is over, or the
// record has changed. A read of somebody else starts the pause anew; if it has
// found the task finished, wait returns that.
func (r *room) wait(ctx context.Context, changed <-chan struct{}, pause func() time.Duration) (ended *Reading, err error) {
	timer := time.NewTimer(pause())
	defer timer.Stop()
	for {
		r.mu.Lock()
		seen, ended := r.seen, r.ended
		r.mu.Unlock()
		if ended != nil {
			return ended, nil
		}
		select {
		case <-seen:
			timer.Reset(pause())
		case <-timer.C:
			r.mu.Lock()
			running := r.newest != nil
			r.mu.Unlock()
			if next := pause(); running && changed == nil && next > 0 {
				timer.Reset(next) // the read that is running serves this request, too
				continue
			}
			return nil, nil
		case <-changed:
			return nil, nil
		case <-ctx.Done():
			return nil, errWaitEnded(ctx)
		}
	}
}

// errWaitEnded is the error for a client that hangs up while it waits.
func errWaitEnded(ctx context.Context) error {
	return &Error{Kind: Unavailable, Msg: "the wait was ended", Err: ctx.Err()}
}

// Cancel cancels a task that is not running, or asks the worker of a running one to
// stop. prevented means that no attempt can start any more; otherwise the cancel is
// only requested. Errors: UnknownTask, Finished.
func (s *Service) Cancel(ctx context.Context, call Call, id string) (prevented bool, doc Document, err error) {
	var cancelled bool
	r, err := s.update(ctx, id, call.maySee, func(r *Record) (write bool, err error) {
		now := s.Now()
		cancelled = false
		write = r.applyTime(now, s.ResultTTL)
		switch {
		case r.Ended == endCancelled:
			return write, nil
		case r.Finished():
			return write, Errorf(Finished, "the task has finished: %s", r.State(now))
		case r.leased(now):
			write = !r.CancelRequested
			r.CancelRequested = true
			return write, nil
		}
		if r.Status == Running {
			r.endAttempt(endLapsed, now, &errLapsed)
		}
		r.cancel(now, s.ResultTTL)
		cancelled = true
		return true, nil
	})
	if err != nil {
		return false, Document{}, err
	}
	if cancelled {
		s.remove(ctx, r, r.Dispatch.CancelRef)
	}
	// A worker of plain payloads may start without asking. A backend that is no
	// longer in the settings may have been one with plain payloads.
	b, known := s.Backends[r.Backend]
	return r.Ended == endCancelled && known && b.Payload.carriesEnvelope(), r.Document(s.Now()), nil
}

// Capabilities is what one backend can do.
type Capabilities struct {
	Target       string   `json:"target"`
	Queues       []string `json:"queues"`        // empty = any
	DefaultQueue *string  `json:"default_queue"` // null = a request must name its queue
	Limits
	SupportsPriority  bool `json:"supports_priority"`
	SupportsGetResult bool `json:"supports_get_result"` // true: the store has the results
	SupportsGroup     bool `json:"supports_group"`
	MaxPayloadBytes   int  `json:"max_payload_bytes"` // of args + kwargs + metadata, as JSON
}

// Capabilities returns what each backend can do with its default queue, by alias.
func (s *Service) Capabilities(ctx context.Context) map[string]Capabilities {
	all := make(map[string]Capabilities, len(s.Backends))
	for alias, b := range s.Backends {
		limits := b.Dispatcher.Limits(ctx, b.DefaultQueue, 0)
		all[alias] = Capabilities{
			Target:            b.Target,
			Queues:            b.Queues,
			DefaultQueue:      orNull(b.DefaultQueue),
			Limits:            limits,
			SupportsPriority:  limits.SupportsPriority || len(b.PriorityQueues) > 0,
			SupportsGetResult: true,
			SupportsGroup:     limits.GroupMode.Supported(),
			MaxPayloadBytes:   s.MaxPayloadBytes,
		}
	}
	return all
}
