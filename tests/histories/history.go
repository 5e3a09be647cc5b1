package histories

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/taskgate/taskgate/core/task"
)

// history is what a few clients do to one task concurrently.
type history struct {
	target Target
	epoch  time.Time // all times are since then
	key    string
	id     string // the task's
	token  string
	limit  int8
	lease  time.Duration

	last    atomic.Int32 // operations so far
	attempt atomic.Int32 // the latest that anybody was told of
	leased  atomic.Int64 // when a lease was first asked for, in nanoseconds since epoch; 0 = not yet

	mu  sync.Mutex
	ops []op
}

// op is an operation and its answer.
type op struct {
	client int
	in     call
	out    answer
}

// client is one of a history's clients, with a plan of its own.
type client struct {
	number int
	rand   *rand.Rand
	steps  int
	mine   int8 // the attempt that it was told it has; 0 = none
	before call // the operation before
	again  bool // whose answer was lost
}

// A lease is either so long that it never lapses here, or as short as allowed, so
// that it lapses.
const (
	longLease  = time.Hour
	shortLease = task.MinLease * time.Second
)

// record makes the history that the seed plans. The operations also depend on the
// answers, so the same seed gives a similar history and not the same one.
func record(ctx context.Context, target Target, epoch time.Time, seed, number uint64, lapsing bool) (*history, error) {
	r := rand.New(rand.NewPCG(seed, number))
	h := &history{target: target, epoch: epoch, lease: longLease, limit: int8(max(0, r.IntN(6)-2))}
	if lapsing {
		h.lease = shortLease
	}
	keyed := r.IntN(8) > 0
	if keyed {
		h.key = fmt.Sprintf("%d-%d-%d", epoch.UnixNano(), seed, number)
		h.meet(task.KeyedID(target.Caller, h.key))
	} else if err := h.enqueueUnkeyed(ctx); err != nil {
		return nil, err
	}
	clients := make([]*client, 3+r.IntN(4))
	for i := range clients {
		clients[i] = &client{number: i, rand: rand.New(rand.NewPCG(r.Uint64(), 0))}
	}
	for range 8 + r.IntN(13) {
		clients[r.IntN(len(clients))].steps++
	}
	lossy := r.IntN(2) == 0 && !target.Killed // a kill loses enough
	var wg sync.WaitGroup
	errs := make([]error, len(clients))
	for i, c := range clients {
		wg.Go(func() {
			for n := 0; n < c.steps && errs[i] == nil; n++ {
				errs[i] = h.step(ctx, c, n, lossy, lapsing)
			}
		})
	}
	wg.Wait()
	return h, errors.Join(errs...)
}

// meet: the clients know the task by its id, perhaps before it is there.
func (h *history) meet(id string) { h.id, h.token = id, h.target.Token(id) }

// enqueueUnkeyed comes first: before it nobody can know the id.
func (h *history) enqueueUnkeyed(ctx context.Context) error {
	for {
		c, a, err := h.send(ctx, call{n: h.last.Add(1), kind: enqueue, limit: h.limit}, fate{})
		switch {
		case err != nil:
			return err
		case a.lost: // and the task with it: nobody will ever know its id
			continue
		case a.doc == nil:
			return fmt.Errorf("an enqueue without a key: %v", a)
		}
		h.meet(a.doc.ID)
		c.id = h.id
		h.ops = append(h.ops, op{0, c, a})
		return nil
	}
}

// step does a client's next operation.
func (h *history) step(ctx context.Context, c *client, n int, lossy, lapsing bool) error {
	in := h.next(c, n)
	if c.again && c.rand.IntN(10) < 7 || c.before.n > 0 && c.rand.IntN(8) == 0 {
		in = c.before // word for word
	}
	if lapsing && n == c.steps/2 {
		h.awaitLapse(ctx, c.rand)
	}
	var f fate
	if lossy && c.rand.IntN(8) == 0 {
		if f.unread = c.rand.IntN(2) == 0; !f.unread {
			f.hangUp = 1 + time.Duration(c.rand.Int64N(int64(2*time.Millisecond)))
		}
	}
	in.n = h.last.Add(1)
	in, out, err := h.send(ctx, in, f)
	if err != nil {
		return err
	}
	if in.kind == started && out.status == 200 {
		c.mine = int8(out.attempt)
		h.attempt.Store(int32(out.attempt))
	}
	if in.lease > 0 {
		h.leased.CompareAndSwap(0, int64(in.to))
	}
	c.before, c.again = in, out.lost
	if out.lost && in.kind == get && h.lease == longLease {
		return nil // it saw nothing, and changed nothing
	}
	h.mu.Lock()
	h.ops = append(h.ops, op{c.number, in, out})
	h.mu.Unlock()
	return nil
}

// awaitLapse waits until about the end of the first lease, so that the clients'
// operations meet there.
func (h *history) awaitLapse(ctx context.Context, r *rand.Rand) {
	if h.leased.Load() == 0 {
		return
	}
	until := time.Duration(h.leased.Load()) + shortLease + time.Duration(r.Int64N(int64(60*time.Millisecond))) - 20*time.Millisecond
	timer := time.NewTimer(until - time.Since(h.epoch))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// weights say how often an operation is chosen.
var weights = []struct {
	kind string
	of   int
}{
	{get, 20}, {enqueue, 16}, {started, 22}, {cancel, 7}, {succeeded, 9}, {failed, 12},
	{heartbeat, 5}, {progress, 7}, {cancelled, 4}, {deadLettered, 3},
}

// next chooses a client's next operation. The first clients begin with the key;
// a client with an attempt mostly reports on that one.
func (h *history) next(c *client, n int) call {
	in := call{id: h.id, limit: h.limit, keyed: h.key != "", atomic: h.target.Atomic}
	pick := c.rand.IntN(105)
	for _, w := range weights {
		if in.kind = w.kind; pick < w.of {
			break
		}
		pick -= w.of
	}
	if n == 0 && c.number < 2 {
		in.kind = enqueue
	}
	if in.kind == enqueue && !in.keyed {
		in.kind = get
	}
	number := h.last.Load()*8 + int32(c.number) + 1 // the client's own
	switch in.kind {
	case enqueue:
		if c.rand.IntN(8) == 0 {
			in.request = 1
		}
	case started:
		in.delivery, in.lease = number, h.lease
	case heartbeat, progress:
		in.lease = h.lease
	}
	in.value, in.retry = number, c.rand.IntN(3) > 0
	if in.attempt = c.mine; in.attempt == 0 || c.rand.IntN(6) == 0 {
		in.attempt = int8(h.attempt.Load()) + int8(max(0, c.rand.IntN(6)-4))
	}
	in.attempt = max(in.attempt, 1)
	return in
}

// operations returns the history in porcupine's form. An operation whose answer
// was lost may have taken effect at any later time: it returns after all others.
func (h *history) operations() []porcupine.Operation {
	var end time.Duration
	for _, o := range h.ops {
		end = max(end, o.in.to)
	}
	slices.SortFunc(h.ops, func(a, b op) int { return cmp.Compare(a.in.from, b.in.from) })
	var all []porcupine.Operation
	add := func(o op) {
		returns := o.in.to
		if o.out.lost {
			returns = end + 1
		}
		all = append(all, porcupine.Operation{
			ClientId: o.client, Input: o.in, Output: o.out, Call: int64(o.in.from), Return: int64(returns),
		})
	}
	lanes := 8 // for the picture alone: what overlaps has a row of its own
	for _, o := range h.ops {
		if o.out.lost {
			o.in.to = end
			o.client = lanes
			lanes++
		}
		add(o)
		if o.in.kind == enqueue && o.in.keyed && !o.in.atomic && (o.out.lost || o.out.status == 202 && !o.out.replayed) {
			o.in.kind = accept
			o.client = lanes
			lanes++
			add(o)
		}
	}
	return all
}
