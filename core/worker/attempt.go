package worker

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/task"
)

// attempt is one attempt at a task. This worker holds its lease.
type attempt struct {
	reporter
	number int
	lease  time.Duration
	began  time.Time // before started was sent first
	log    *slog.Logger
	end    context.CancelCauseFunc // ends the handler's context

	mu              sync.Mutex
	cancelRequested bool
	lost            *answer // not nil: report nothing more
}

// obey does what the answer to an event asks for: it ends the handler's context when the attempt
// is lost, or when a cancel was requested.
func (a *attempt) obey(ans answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch ans.Code {
	case task.StaleAttempt, task.Finished, task.Cancelled, task.Expired, task.UnknownTask:
		a.lost = &ans
		a.end(fmt.Errorf("%w: %s", ErrLost, ans.Code))
	}
	if ans.CancelRequested {
		a.cancelRequested = true
		a.end(ErrCancelRequested)
	}
}

// lostAnswer returns the answer that ended the attempt, or nil.
func (a *attempt) lostAnswer() *answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lost
}

// cancelWanted reports whether somebody requested a cancel.
func (a *attempt) cancelWanted() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cancelRequested
}

// beat keeps the lease until ctx ends or the attempt is lost. An attempt whose
// lease lapsed because no heartbeat arrived is not lost yet: a late heartbeat
// counts until a newer attempt starts.
func (a *attempt) beat(ctx context.Context) {
	// The lease may have begun long ago: with a started event whose answer was
	// lost. Only its repeat was answered.
	due := time.NewTimer(a.lease/3 - time.Since(a.began))
	defer due.Stop()
	for a.lostAnswer() == nil {
		select {
		case <-ctx.Done():
			return
		case <-due.C:
		}
		due.Reset(a.lease / 3)
		a.keepAlive(ctx, task.Event{Type: task.EventHeartbeat})
	}
}

// keepAlive sends a heartbeat or a progress event, and obeys the answer. It tries until the next
// heartbeat is due.
func (a *attempt) keepAlive(ctx context.Context, e task.Event) {
	e.Attempt, e.LeaseSeconds = a.number, int(a.lease/time.Second)
	ans, err := a.send(ctx, e, a.lease/3)
	if err == nil {
		a.obey(ans)
		err = ans.err()
	}
	if err != nil && ctx.Err() == nil && a.lostAnswer() == nil {
		a.log.WarnContext(ctx, "report failed", "event", e.Type, "error", err)
	}
}

// progress is [Task.Progress] for a handler whose context is handling.
func (a *attempt) progress(handling context.Context) func(context.Context, task.Progress) error {
	return func(ctx context.Context, p task.Progress) error {
		if a.lostAnswer() == nil {
			a.keepAlive(ctx, task.Event{Type: task.EventProgress, Progress: &p})
		}
		return cmp.Or(context.Cause(handling), context.Cause(ctx))
	}
}

// run calls the handler and encodes its result, and sends heartbeats meanwhile.
// The event that it returns says how the attempt ended.
func (a *attempt) run(ctx context.Context, h Handler, t *Task) task.Event {
	// Keep the lease until the handler returns: it may still clean up after its
	// context has ended.
	beating, stop := context.WithCancel(context.WithoutCancel(ctx))
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		a.beat(beating)
	}()
	defer func() { stop(); <-stopped }()

	result, err := call(ctx, h, t)
	switch {
	case err == nil:
		return task.Event{Type: task.EventSucceeded, ReturnValue: result}
	case a.cancelWanted():
		return task.Event{Type: task.EventCancelled}
	case ctx.Err() != nil:
		return failed(fmt.Errorf("the worker is stopping: %w", err))
	}
	return failed(err)
}

// call runs the handler and encodes its result as JSON.
func call(ctx context.Context, h Handler, t *Task) (result jsontext.Value, err error) {
	err = guard(func() error {
		v, err := h.Run(ctx, t)
		if err != nil {
			return err
		}
		result, err = encodeResult(v)
		return err
	})
	return result, err
}
