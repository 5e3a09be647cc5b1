// Package simulation runs the service as it is, over a store, targets, workers
// and clients whose every step one seed decides. Calls are refused, lost,
// delayed and applied without an answer; processes crash between any two of
// them; messages come twice, late and out of order; clocks differ. After every
// step what is stored and answered is held against the promises, and at the
// end, when all is well again, so is what became of every task.
package simulation_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run this seed alone, and print its history")
	seedsFlag = flag.Uint64("seeds", 0, "run the seeds from 1 to this")
)

// seeds is how many seeds are run: enough to meet each defect that we know how
// to make several times over.
func seeds() uint64 {
	switch {
	case *seedsFlag > 0:
		return *seedsFlag
	case testing.Short():
		return 100
	}
	return 1000
}

// TestSimulation keeps every promise under every seed.
func TestSimulation(t *testing.T) {
	if *seedFlag > 0 {
		w := run(t, *seedFlag, true)
		t.Logf("history of seed %d:\n%s", *seedFlag, w.history.text.String())
		if w.broken != "" {
			t.Fatal(w.broken)
		}
		return
	}
	simulate(t, 1, seeds())
}

// TestSoakSimulation is TestSimulation with many more seeds, and others each time.
func TestSoakSimulation(t *testing.T) {
	if os.Getenv("TASKGATE_SOAK") == "" {
		t.Skip("TASKGATE_SOAK is not set")
	}
	simulate(t, uint64(time.Now().Unix())<<20, 20_000)
}

// simulate runs n seeds from first on, side by side, until one breaks a promise.
func simulate(t *testing.T, first, n uint64) {
	var next, failed atomic.Uint64
	t.Run("seeds", func(t *testing.T) {
		for i := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				for failed.Load() == 0 {
					seed := first + next.Add(1) - 1
					if seed >= first+n {
						return
					}
					if w := run(t, seed, false); w.broken != "" {
						failed.CompareAndSwap(0, seed)
					}
				}
			})
		}
	})
	if seed := failed.Load(); seed != 0 {
		w := run(t, seed, true)
		t.Fatalf("seed %d: %s\n%s\nto see it again: go test ./tests/simulation -run '^TestSimulation$' -seed=%d",
			seed, w.broken, w.history.text.String(), seed)
	}
}

// TestSameSeedGivesTheSameHistory gets the same history, byte for byte, each time.
func TestSameSeedGivesTheSameHistory(t *testing.T) {
	for seed := uint64(1); seed <= 40; seed++ {
		first, second := run(t, seed, true), run(t, seed, true)
		if a, b := first.history.text.String(), second.history.text.String(); a != b {
			t.Fatalf("seed %d has two histories:\n%s\nand\n%s", seed, a, b)
		}
	}
}

// run runs one seed to its end, or to the first promise that is broken.
func run(t *testing.T, seed uint64, recorded bool) (w *world) {
	synctest.Test(t, func(*testing.T) {
		w = newWorld(seed, recorded)
		w.weather()
		w.calm()
		w.stop()
	})
	return w
}

// weather is the time in which things go wrong.
func (w *world) weather() {
	for steps := 100 + w.rng.IntN(300); steps > 0 && w.broken == ""; steps-- {
		w.look()
		w.act()
	}
}

// act does one thing of those that can happen now.
func (w *world) act() {
	w.turn++
	if w.leaping {
		w.leap()
		return
	}
	ready := w.ready()
	deliverable := w.deliverable()
	switch p := w.rng.Float64(); {
	case p < 0.62 && len(ready) > 0:
		w.let(pick(w, ready))
	case p < 0.72 && len(w.plan) > 0:
		client := w.plan[0]
		w.plan = w.plan[1:]
		w.spawn("client", client)
	case p < 0.84 && len(deliverable) > 0:
		w.deliver(pick(w, deliverable))
	case p < 0.88 && len(w.late) > 0:
		w.land(w.rng.IntN(len(w.late)))
	case p < 0.93:
		w.pull(pick(w, w.targets))
	case p < 0.94:
		w.turned = !w.turned
		w.history.add(w, "the targets refuse what is fickle from now on: %v", w.turned)
	case p < 0.945 && w.leaps < maxLeaps:
		w.leaping = true
	case p < 0.97 || len(ready) == 0:
		w.sleep(pick(w, []time.Duration{2 * time.Second, 7 * time.Second, 45 * time.Second, 3 * time.Minute}))
	}
}

// maxLeaps keeps a world shorter than the life of an unfinished record.
const maxLeaps = 4

// maxTurns is far more than any world takes to come to rest.
const maxTurns = 50_000

// leap brings the requests that are being worked on to their ends, and then so
// much time to pass that what has finished is forgotten.
func (w *world) leap() {
	if len(w.late) > 0 {
		w.land(0)
		return
	}
	for i, c := range w.pending {
		if c.proc.service != nil {
			w.let(i)
			return
		}
	}
	w.sleep(resultTTL + time.Hour)
	w.leaping = false
	w.leaps++
}

// calm is the time after: nothing goes wrong any more, requests whose outcome
// is not known are repeated, and all work that there is gets done.
func (w *world) calm() {
	w.look() // until whoever was let go last has stopped
	w.faults = false
	w.services[0].Backends = w.backends
	w.history.add(w, "all is well from now on")
	for _, k := range w.keyed {
		w.spawn("client", func(a *actor) {
			if !a.insist(k, 8) {
				w.violated("%s is not settled", describe(k.owner, k.req))
			}
		})
	}
	for _, owner := range owners {
		w.spawn("client", func(a *actor) { a.walk(owner) })
	}
	for idle := 0; idle < 12 && w.broken == ""; {
		if w.turn++; w.turn > maxTurns {
			w.violated("it never comes to rest")
		}
		w.look()
		for _, t := range w.targets {
			w.pull(t)
		}
		switch ready, deliverable := w.ready(), w.deliverable(); {
		case len(w.late) > 0:
			w.land(0)
		case len(ready) > 0:
			w.let(pick(w, ready))
		case len(deliverable) > 0:
			w.deliver(pick(w, deliverable))
		default:
			w.sleep(2 * time.Minute)
			idle++
		}
	}
	w.checkEnd()
}

// checkEnd checks what became of every task.
func (w *world) checkEnd() {
	if w.broken != "" {
		return
	}
	if n := w.alive.Load(); n > 0 {
		w.violated("%d actors are still at it", n)
	}
	for _, id := range w.ledger.ids {
		if r := w.ledger.records[id]; r.EnqueuedAt == w.ledger.acked[id] && !r.Finished() {
			w.violated("%s was accepted, and never ends: %s", short(id), r.Status)
		}
	}
	for _, t := range w.targets {
		for _, c := range t.copies {
			if r := w.ledger.records[c.ID]; r != nil && r.Finished() && !r.Gone(w.now()) && r.EnqueuedAt == c.message.EnqueuedAt {
				w.violated("the message of %s, which is over, is never acknowledged", short(c.ID))
			}
		}
	}
}

// stop ends every goroutine of the world, also those that only wait for time
// to pass.
func (w *world) stop() {
	w.history.closed = true
	w.look()
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	for _, c := range w.pending {
		c.err = crashed()
		close(c.resume)
	}
	time.Sleep(time.Hour) // longer than anybody waits
}
