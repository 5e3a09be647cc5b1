package simulation_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/task"
)

// work is what a worker does with one delivery of a message.
func (a *actor) work(c *parcel) {
	w := a.world
	started := task.Event{
		Type: task.EventStarted, WorkerID: a.label, DeliveryID: fmt.Sprintf("delivery-%d", a.n),
		LeaseSeconds: pick(w, []int{0, task.MinLease, 60}),
	}
	answer, kind, ok := a.report(c, started, 3)
	if !ok {
		a.giveBack(c, kind.Acknowledge())
		return
	}
	for range w.rng.IntN(3) {
		if a.crashes() {
			return
		}
		a.rest(pick(w, []time.Duration{0, 2 * time.Second, 30 * time.Second, 80 * time.Second}))
		beat := task.Event{Type: task.EventHeartbeat, Attempt: answer.Attempt}
		if w.chance(0.5) {
			beat.Type, beat.Progress = task.EventProgress, &task.Progress{Fraction: w.rng.Float64()}
		}
		if beaten, kind, ok := a.report(c, beat, 1); ok {
			answer.CancelRequested = beaten.CancelRequested
		} else if kind.Acknowledge() {
			a.giveBack(c, true)
			return
		}
	}
	if a.crashes() {
		return
	}
	end := a.end(answer)
	last, kind, ok := a.report(c, end, 4)
	if kind == task.ResultTooLarge { // that, then, is why it failed
		end = task.Event{Type: task.EventFailed, Attempt: answer.Attempt, Error: trouble(w)}
		last, kind, ok = a.report(c, end, 4)
	}
	if w.faults && w.chance(0.2) { // late, and once more
		a.rest(pick(w, []time.Duration{0, time.Minute}))
		a.report(c, end, 1)
	}
	a.giveBack(c, ok && last.Acknowledge || kind.Acknowledge())
}

// end is how the attempt ends. While all is well every attempt succeeds.
func (a *actor) end(answer task.Answer) task.Event {
	w := a.world
	e := task.Event{Type: task.EventSucceeded, Attempt: answer.Attempt}
	if !w.faults {
		return e
	}
	switch p := w.rng.Float64(); {
	case answer.CancelRequested && p < 0.3 || p < 0.02: // also unasked
		e.Type = task.EventCancelled
	case p < 0.5:
		e.Type, e.Retryable, e.Error = task.EventFailed, true, trouble(w)
	case p < 0.6:
		e.Type, e.Error = task.EventFailed, trouble(w)
	case p < 0.65:
		e.ReturnValue = jsontext.Value(`"` + strings.Repeat("x", storeBytes) + `"`)
	default:
		e.ReturnValue = jsontext.Value(fmt.Sprint(a.n))
	}
	return e
}

func trouble(w *world) *task.TaskError {
	return &task.TaskError{ExceptionClassPath: "builtins.ValueError", Traceback: pick(w, []string{"boom", "bang"})}
}

// crashes reports whether the worker dies here; the broker never hears of it.
func (a *actor) crashes() bool {
	dies := a.world.faults && a.world.chance(a.world.rate/2)
	if dies {
		a.note("CRASHES")
	}
	return dies
}

// bury reports a copy that has come to the dead-letter queue.
func (a *actor) bury(c *parcel) {
	e := task.Event{Type: task.EventDeadLettered}
	answer, kind, ok := a.report(c, e, 3)
	if ok && a.world.chance(0.3) {
		a.report(c, e, 1)
	}
	a.giveBack(c, ok && answer.Acknowledge || kind.Acknowledge())
}

// report reports an event, and again while its answer is lost or the service is
// unavailable; sometimes it repeats one that was answered.
func (a *actor) report(c *parcel, e task.Event, tries int) (answer task.Answer, kind task.Kind, ok bool) {
	w := a.world
	for range tries {
		heard := a.request(e.Type+" of "+short(c.ID), func(ctx context.Context, p *proc) {
			p.event = &e
			before := w.ledger.took[tookKey(c.ID, c.message.EnqueuedAt, e)]
			reporter, err := p.service.Reporter(c.ID, c.message.Token)
			if err == nil {
				answer, err = reporter.Report(ctx, e)
			}
			kind, ok = task.KindOf(err), err == nil
			if !w.crashed(p) {
				w.checkReport(p, c, answer, err, before)
			}
		})
		switch {
		case !heard || kind == task.Unavailable:
			ok, kind = false, task.Unavailable
			a.rest(time.Second)
		case ok && w.faults && w.chance(0.1): // once more, although it was heard
		default:
			return answer, kind, ok
		}
	}
	return answer, kind, ok
}
