package push

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// After a busy answer, the next probe waits for a pause. The pause doubles from
// minPause to maxPause until the worker accepts a push.
const (
	minPause = 100 * time.Millisecond
	maxPause = time.Second
)

// pace limits the concurrent pushes of one queue. The limit starts at full. A busy
// answer lowers the limit to the number of pushes that still run. From time to time
// a probe, one push above the limit, checks whether the worker accepts more. Each
// accepted push raises the limit.
type pace struct {
	full int

	mu      sync.Mutex
	limit   int           // the maximum number of concurrent pushes, without a probe
	running int           // the number of running pushes, with a probe
	pause   time.Duration // the wait between two probes
	probeAt time.Time     // the earliest time of the next probe
	slowed  int           // how often refusals have doubled the pause
	taken   time.Time     // when the worker last accepted a push; zero = never
	changed chan struct{} // closed when the limit or running changes
}

func newPace(full int) *pace {
	return &pace{full: full, limit: full, changed: make(chan struct{})}
}

// room returns how many pushes may start now. If n is 0, the caller should call room
// again after wait, or earlier when changed is closed.
func (p *pace) room() (n int, wait time.Duration, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch wait = time.Until(p.probeAt); {
	case p.running < p.limit:
		return p.limit - p.running, 0, nil
	case p.running < p.full && wait <= 0:
		return 1, 0, nil
	case p.running < p.full:
		return 0, wait, p.changed
	}
	return 0, time.Hour, p.changed // no push may start until another one ends
}

// wait returns when a push may start, or when ctx ends.
func (p *pace) wait(ctx context.Context) {
	for {
		n, wait, changed := p.room()
		if n > 0 {
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// A run is one running push.
type run struct {
	pace   *pace
	slowed int  // pace.slowed when the push started
	taken  bool // the worker has accepted the push
}

// begin counts a new push as running.
func (p *pace) begin() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running++; p.running > p.limit {
		p.probeAt = time.Now().Add(jitter(p.pause))
	}
	return &run{pace: p, slowed: p.slowed}
}

// took raises the limit, because the worker has accepted the push.
func (r *run) took() {
	p := r.pace
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.taken {
		return
	}
	r.taken = true
	p.taken = time.Now()
	p.limit, p.pause = min(p.full, max(p.limit, p.running)+1), 0
	p.signal()
}

// end counts the push as ended.
func (r *run) end() {
	p := r.pace
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	p.signal()
}

// refused counts the push as ended and lowers the limit. It doubles the pause,
// unless another refusal has doubled the pause since this push started.
func (r *run) refused() {
	p := r.pace
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	p.limit = min(p.limit, p.running)
	if r.slowed == p.slowed {
		p.slowed++
		p.pause = min(max(2*p.pause, minPause), maxPause)
		p.probeAt = time.Now().Add(jitter(p.pause))
	}
	p.signal()
}

// takenSince reports whether the worker accepted a push of this queue after t.
func (p *pace) takenSince(t time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken.After(t)
}

// signal wakes the waiting callers. The caller holds the lock.
func (p *pace) signal() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// jitter returns a random time around d, so that queues do not probe all together.
func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }
