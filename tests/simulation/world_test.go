package simulation_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
)

// How long the service keeps things here, and how far a clock may be off.
const (
	resultTTL = 24 * time.Hour
	maxSkew   = 5 * time.Minute
)

// world is everything that one seed decides: the services, what is around them,
// and who does what next. It lives in a synctest bubble, whose clock is the true
// time. Its fields belong to whoever runs: the scheduler, or the one actor that
// the scheduler has let go and waits for.
type world struct {
	rng      *rand.Rand
	begin    time.Time
	faults   bool    // whether anything may go wrong at all
	rate     float64 // how often a call goes wrong
	turned   bool    // the targets refuse by now what they call fickle
	services []*service
	backends map[string]task.Backend
	store    *store
	targets  []*target
	history  *history
	broken   string // the first promise that was broken

	turn    int
	leaping bool // a long time is about to pass
	leaps   int
	actors  int
	alive   atomic.Int64 // actors that have not finished
	ids     atomic.Int64 // a batch that crashes lets all its items go on at once
	pending []*call
	late    []*call // requests that were given up, and are still under way

	mu      sync.Mutex
	arrived []*call // calls since the scheduler last looked
	stopped bool    // the world has ended: no call waits any more

	ledger ledger
	plan   []func(*actor)
	focus  *target // where all happens, to one key, so that more of it meets; nil = anywhere
	keyed  []*keyedRequest
}

// service is one instance, on a machine with a clock of its own.
type service struct {
	*task.Service
	skew time.Duration
}

// call is an actor's or a service's step that waits for the scheduler.
type call struct {
	proc      *proc
	op, id    string
	detail    string       // tells the calls of one batch apart
	record    *task.Record // likewise
	ctx       context.Context
	effect    func() error
	at        time.Time // when it was made, by the clock of its service
	notBefore time.Time
	slowUntil int // the turn before which it stays on its way; 0 = not slow
	err       error
	resume    chan struct{}
}

// proc is the process that works on one request. When it has crashed, nothing
// that it still does has an effect, and nobody gets its answer.
type proc struct {
	actor      *actor
	service    *service
	batch      bool
	began      int         // at which step of the history
	event      *task.Event // that a worker reports
	cancels    bool        // it works on a cancel
	failed     []fate      // what became of its calls, where that was not fine
	dispatched bool        // it has called a target
	dead       bool        // guarded by world.mu
	wrote      []string    // the records that it wrote
	sent       []string    // the tasks whose messages it got accepted
}

type procKey struct{}

func newWorld(seed uint64, recorded bool) *world {
	w := &world{
		rng:     rand.New(rand.NewPCG(seed, 0)),
		begin:   time.Now(),
		faults:  true,
		history: &history{on: recorded},
		ledger:  newLedger(),
	}
	w.rate = []float64{0, 0.03, 0.1, 0.25}[w.rng.IntN(4)]
	w.store = &store{world: w, Store: &tasktest.Store{MaxBytes: storeBytes}}
	backends := w.newTargets()
	skewed := w.chance(0.4)
	for range 3 {
		s := &service{}
		if skewed {
			s.skew = time.Duration(w.rng.Int64N(int64(2*maxSkew))) - maxSkew
		}
		s.Service = &task.Service{
			Store: w.store, Backends: backends,
			Tokens:    task.Tokens{Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}},
			ResultTTL: resultTTL, MaxWait: 20 * time.Second, MaxPayloadBytes: 1 << 20,
			Now: func() time.Time { return time.Now().Add(s.skew) },
			NewID: func() string {
				return fmt.Sprintf("01936b5e-0000-7000-8000-%012x", w.ids.Add(1))
			},
			Log: slog.New(slog.DiscardHandler),
		}
		w.services = append(w.services, s)
	}
	w.backends = backends
	if w.chance(0.25) { // one instance has other settings
		fewer := maps.Clone(backends)
		delete(fewer, pick(w, w.targets).alias)
		w.services[0].Backends = fewer
	}
	w.makePlan()
	return w
}

func (w *world) chance(p float64) bool { return w.rng.Float64() < p }

func pick[T any](w *world, from []T) T { return from[w.rng.IntN(len(from))] }

func (w *world) now() time.Time { return time.Now() }

// violated notes that a promise was broken; the first is what is reported.
func (w *world) violated(format string, args ...any) {
	if w.broken == "" {
		w.broken = fmt.Sprintf(format, args...)
		w.history.add(w, "BROKEN: %s", w.broken)
	}
}

// port is how every call to the store and to a target is made: it waits until
// the scheduler runs effect, or decides that something else becomes of it.
func (w *world) port(ctx context.Context, c *call) error {
	c.ctx, c.proc = ctx, ctx.Value(procKey{}).(*proc)
	c.at = c.proc.service.Now()
	return w.park(c)
}

func (w *world) park(c *call) error {
	c.resume = make(chan struct{})
	w.mu.Lock()
	if c.proc.dead || w.stopped {
		w.mu.Unlock()
		return crashed()
	}
	w.arrived = append(w.arrived, c)
	w.mu.Unlock()
	<-c.resume
	return c.err
}

// look waits until all is quiet, and puts what has arrived in an order that
// does not depend on how the runtime scheduled it.
func (w *world) look() {
	synctest.Wait()
	w.mu.Lock()
	arrived := w.arrived
	w.arrived = nil
	w.mu.Unlock()
	slices.SortStableFunc(arrived, compareCalls)
	for _, c := range arrived {
		if c.effect != nil && w.faults && w.chance(0.2) {
			c.slowUntil = w.turn + w.rng.IntN(80)
		}
	}
	w.pending = append(w.pending, arrived...)
	slices.SortStableFunc(w.pending, compareCalls)
}

func compareCalls(a, b *call) int {
	if c := cmp.Compare(a.proc.actor.n, b.proc.actor.n); c != 0 || !a.proc.batch {
		return c
	}
	c := cmp.Or(strings.Compare(a.op, b.op), strings.Compare(a.id, b.id), strings.Compare(a.detail, b.detail))
	if c != 0 || a.record == nil || b.record == nil {
		return c
	}
	return cmp.Or(strings.Compare(a.record.Revision, b.record.Revision), strings.Compare(fmt.Sprint(a.record.Keyed), fmt.Sprint(b.record.Keyed)))
}

// ready returns the indexes of the calls that may go on by now.
func (w *world) ready() (at []int) {
	now := w.now()
	for i, c := range w.pending {
		if !now.Before(c.notBefore) && (c.slowUntil <= w.turn || !w.faults) {
			at = append(at, i)
		}
	}
	return at
}

// let decides what becomes of a call, and lets its caller go on.
func (w *world) let(i int) {
	c := w.pending[i]
	w.pending = slices.Delete(w.pending, i, i+1)
	f := w.fate(c)
	c.proc.dispatched = c.proc.dispatched || strings.Contains(c.op, "dispatch")
	if f != fine {
		c.proc.failed = append(c.proc.failed, f)
	}
	w.history.add(w, "%s %s %s%s%s", c.proc.actor.label, c.op, short(c.id), c.detail, outcome(f, nil))
	if c.err = w.meet(c, f); f == fine && c.err != nil {
		w.history.add(w, "  … %v", c.err)
	}
	close(c.resume)
}

func (w *world) meet(c *call, f fate) error {
	switch f {
	case fine:
		if c.effect == nil {
			return nil
		}
		return c.effect()
	case refused:
		return unavailable("refused for now")
	case answerLost:
		_ = c.effect() // whatever the answer is, nobody hears it
		return unavailable("the answer was lost")
	case givenUp:
		w.late = append(w.late, c)
		return unavailable("no answer in time")
	case crashAfter:
		_ = c.effect()
	}
	w.kill(c.proc)
	return crashed()
}

// kill ends a process: its other calls, in a batch, end with it.
func (w *world) kill(p *proc) {
	w.mu.Lock()
	p.dead = true
	w.mu.Unlock()
	w.pending = slices.DeleteFunc(w.pending, func(c *call) bool {
		if c.proc == p {
			c.err = crashed()
			close(c.resume)
		}
		return c.proc == p
	})
}

// land applies a request that its sender has given up.
func (w *world) land(i int) {
	c := w.late[i]
	w.late = slices.Delete(w.late, i, i+1)
	w.history.add(w, "%s %s %s lands late", c.proc.actor.label, c.op, short(c.id))
	if err := c.effect(); err != nil {
		w.history.add(w, "  … %v", err)
	}
}

func (w *world) sleep(d time.Duration) {
	time.Sleep(d)
	w.history.add(w, "time passes: %s", d)
}
