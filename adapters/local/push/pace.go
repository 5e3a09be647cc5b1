package push

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// A worker that is too busy is asked again after a pause, which doubles from
// minPause to maxPause until it takes a push.
const (
	minPause = 100 * time.Millisecond
	maxPause = time.Second
)

// pace is how many pushes of one queue may run at once. It begins at full. A
// push that the worker is too busy for lowers it to what the worker has taken,
// and a probe now and then finds out whether the worker takes more. Each push
// that is taken raises it again.
type pace struct {
	full int

	mu      sync.Mutex
	limit   int // how many pushes may run at once
	running int // how many do; a probe runs above the limit
	pause   time.Duration
	probeAt time.Time // not before, one push above the limit
	slowed  int       // how often refusals have doubled the pause
	taken   time.Time // when a push was last taken; zero = none was
	changed chan struct{}
}

func newPace(full int) *pace {
	return &pace{full: full, limit: full, changed: make(chan struct{})}
}

// room returns how many pushes may begin now; if none, the time until a probe
// may, unless changed is closed before.
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
	return 0, time.Hour, p.changed // no room at all until a push ends
}

// wait returns once a push may begin, or ctx has ended.
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

// A run is one push that runs.
type run struct {
	pace   *pace
	slowed int // of the pace, when the push began
	taken  bool
}

// begin counts a push as running.
func (p *pace) begin() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running++; p.running > p.limit {
		p.probeAt = time.Now().Add(jitter(p.pause))
	}
	return &run{pace: p, slowed: p.slowed}
}

// took raises the pace: the worker has taken the push.
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

// end counts the push as over.
func (r *run) end() {
	p := r.pace
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running--
	p.signal()
}

// refused counts the push as over, and lowers the pace. Pushes that began
// together are refused together, and double the pause once.
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

// takenSince reports whether a push of this queue was taken after t.
func (p *pace) takenSince(t time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken.After(t)
}

func (p *pace) signal() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// jitter keeps the probes of several queues apart.
func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }
