package task

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Outcome is what became of one request of a batch: it was accepted, or Err says
// why not.
type Outcome struct {
	Accepted
	Err error
}

// EnqueueBatch does what Enqueue does for each request, side by side, and
// returns the outcomes in their order. The requests do not depend on one another.
func (s *Service) EnqueueBatch(ctx context.Context, call Call, reqs []Request) []Outcome {
	outcomes := make([]Outcome, len(reqs))
	g := &gathering{running: len(reqs), slots: make(chan struct{}, maxConcurrent)}
	var all sync.WaitGroup
	for i, req := range reqs {
		all.Go(func() {
			m := member{g, i}
			m.start()
			defer m.end()
			defer func() {
				if p := recover(); p != nil { // the other requests go on
					outcomes[i].Err = &Error{Kind: Internal, Err: fmt.Errorf("panic: %T", p)}
				}
			}()
			outcomes[i].Accepted, outcomes[i].Err = s.enqueue(ctx, call, req, m)
		})
	}
	all.Wait()
	return outcomes
}

// maxConcurrent bounds how many requests of a batch run at once.
const maxConcurrent = 32

// gatherTime is the longest that a request waits for others at a call. One call
// that hangs must not hold up the rest of the batch.
const gatherTime = time.Second

// gathering combines the calls of one kind that the requests of a batch make. A
// request waits at its call until every other request also waits or has ended. Then
// gathering makes the combined calls.
type gathering struct {
	slots chan struct{} // a request holds one while it runs

	mu      sync.Mutex
	running int // requests that neither wait at a call nor have ended
	groups  map[any]group
}

// group is the calls of one kind.
type group interface {
	size() int
	call() // makes them as one, and lets their requests continue
}

// stop records that one request no longer runs. If no request runs any more, stop
// starts the call of each group and counts the requests in the groups as running
// again. The caller holds mu.
func (g *gathering) stop() {
	if g.running--; g.running > 0 {
		return
	}
	for key := range g.groups {
		g.launch(key)
	}
}

// launch starts the call of a group, whose requests run again from then on. The
// caller holds mu.
func (g *gathering) launch(key any) {
	group := g.groups[key]
	delete(g.groups, key)
	g.running += group.size()
	go group.call()
}

// member is the outlet of one request of a batch.
type member struct {
	*gathering
	place int // in the batch; a group keeps this order
}

func (m member) start() { m.slots <- struct{}{} }

func (m member) end() {
	m.mu.Lock()
	m.stop()
	m.mu.Unlock()
	<-m.slots
}

func (m member) createAndDispatch(ctx context.Context, d AtomicDispatcher, e Entry) EntryResult {
	type key struct{ backend string }
	return together(m, key{e.Record.Backend}, e, func(entries []Entry) []EntryResult {
		return d.CreateAndDispatch(ctx, entries)
	})
}

func (m member) dispatch(ctx context.Context, d *draft) (Receipt, error) {
	many, ok := d.backend.Dispatcher.(BatchDispatcher)
	if !ok {
		return d.backend.Dispatcher.Dispatch(ctx, d.out)
	}
	type key struct{ backend, queue string }
	result := together(m, key{d.rec.Backend, d.out.Queue}, d.out, func(ms []Outgoing) []DispatchResult {
		return many.DispatchBatch(ctx, ms)
	})
	return result.Receipt, result.Err
}

// together adds in to the combined call for key, waits for that call, and returns
// the result for in.
func together[In, Out any](m member, key any, in In, call func([]In) []Out) Out {
	m.mu.Lock()
	c, ok := m.groups[key].(*calls[In, Out])
	if !ok {
		c = &calls[In, Out]{together: call, done: make(chan struct{})}
		if m.groups == nil {
			m.groups = map[any]group{}
		}
		m.groups[key] = c
		c.late = time.AfterFunc(gatherTime, func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.groups[key] == group(c) {
				m.launch(key)
			}
		})
	}
	own := &waiting[In, Out]{place: m.place, in: in}
	c.waiting = append(c.waiting, own)
	m.stop()
	m.mu.Unlock()
	<-m.slots
	<-c.done
	m.start()
	if c.broken != nil {
		panic(c.broken)
	}
	return own.out
}

// calls is a [group] of calls that take an In and return an Out.
type calls[In, Out any] struct {
	waiting  []*waiting[In, Out]
	together func([]In) []Out
	late     *time.Timer // launches the group although other requests still run
	done     chan struct{}
	broken   any // why there are no results
}

type waiting[In, Out any] struct {
	place int
	in    In
	out   Out
}

func (c *calls[In, Out]) size() int { return len(c.waiting) }

func (c *calls[In, Out]) call() {
	defer close(c.done)
	defer func() { c.broken = recover() }()
	c.late.Stop()
	slices.SortFunc(c.waiting, func(a, b *waiting[In, Out]) int { return cmp.Compare(a.place, b.place) })
	in := make([]In, len(c.waiting))
	for i, w := range c.waiting {
		in[i] = w.in
	}
	out := c.together(in)
	if len(out) != len(in) {
		panic(fmt.Sprintf("%d results for %d calls", len(out), len(in)))
	}
	for i := range out {
		c.waiting[i].out = out[i]
	}
}
