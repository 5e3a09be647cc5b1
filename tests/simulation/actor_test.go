package simulation_test

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// patience is the deadline of a request.
const patience = 10 * time.Second

// actor is a client or a worker: a goroutine that runs only when the scheduler
// lets it, from one step to the next.
type actor struct {
	world *world
	n     int
	label string
	self  *proc
}

func (w *world) spawn(what string, f func(*actor)) {
	w.actors++
	w.alive.Add(1)
	a := &actor{world: w, n: w.actors, label: fmt.Sprintf("%s-%d", what, w.actors)}
	a.self = &proc{actor: a}
	go func() {
		defer func() {
			if r := recover(); r != nil {
				w.violated("panic: %v\n%s", r, debug.Stack())
			}
			w.alive.Add(-1)
		}()
		a.step("begins")
		f(a)
		a.step("ends")
	}()
}

// step waits for the actor's turn.
func (a *actor) step(what string) { _ = a.world.park(&call{proc: a.self, op: what}) }

// rest waits for its turn at some time after d.
func (a *actor) rest(d time.Duration) {
	if d > 0 {
		_ = a.world.park(&call{proc: a.self, op: "rested " + d.String(), notBefore: a.world.now().Add(d)})
	}
}

func (a *actor) note(format string, args ...any) {
	a.world.history.add(a.world, a.label+" "+format, args...)
}

// request has one of the services work on a request, and reports whether its
// answer came back.
func (a *actor) request(what string, f func(context.Context, *proc)) (heard bool) {
	w := a.world
	p := &proc{actor: a, service: pick(w, w.services), began: w.history.step}
	a.step("asks: " + what)
	if w.faults && w.chance(w.rate/2) {
		a.note("is not heard")
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), procKey{}, p), patience)
	defer cancel()
	f(skewedContext{ctx, p.service.skew}, p)
	a.step("waits for the answer: " + what)
	if w.crashed(p) || w.faults && w.chance(w.rate/2) {
		a.note("gets no answer")
		return false
	}
	return true
}

func (w *world) crashed(p *proc) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return p.dead
}

// skewedContext tells its deadline by its machine's clock.
type skewedContext struct {
	context.Context
	skew time.Duration
}

func (c skewedContext) Deadline() (time.Time, bool) {
	at, ok := c.Context.Deadline()
	return at.Add(c.skew), ok
}

// caller is what a front door knows of a client.
func caller(owner string) task.Call {
	return task.Call{Owner: owner, BaseURL: "https://tasks.example.com"}
}
