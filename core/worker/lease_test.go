package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/worker"
)

// sleeper returns a handler that takes so long, unless its context ends.
func sleeper(d time.Duration) worker.HandlerFunc {
	return func(ctx context.Context, _ *worker.Task) (any, error) {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(d):
			return "slept", nil
		}
	}
}

// to returns a script that answers events of one type in a way of its own.
func to(event string, r reply) func(int, task.Event) reply {
	return func(_ int, e task.Event) reply {
		if e.Type == event {
			return r
		}
		return reply{}
	}
}

func TestHeartbeatsComeAtAThirdOfTheLease(t *testing.T) {
	for _, c := range []struct {
		lease, want time.Duration // 0 = the default
	}{{0, 45 * time.Second}, {30 * time.Second, 30 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t, nil)
			w := newWorker(t, worker.Config{
				Handler: sleeper(c.want + time.Second), EventsBase: base, Client: s.client, Lease: c.lease,
			})
			if got := w.Process(t.Context(), message()); got != acknowledged {
				t.Errorf("outcome %+v", got)
			}
			var beats []time.Duration
			for _, r := range s.requests {
				if r.Type == task.EventHeartbeat {
					beats = append(beats, r.after)
					if r.Attempt != 1 || r.LeaseSeconds != int(c.want.Seconds()) {
						t.Errorf("heartbeat: %+v", r.Event)
					}
				}
			}
			if want := []time.Duration{c.want / 3, 2 * c.want / 3, c.want}; !slices.Equal(beats, want) {
				t.Errorf("heartbeats at %v, want %v", beats, want)
			}
		})
	}
}

func TestALeaseCountsFromTheFirstStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, func(n int, e task.Event) reply {
			if e.Type == task.EventStarted && n <= 2 {
				return reply{withheld: make(chan struct{})} // it took effect, and nobody heard
			}
			return reply{}
		})
		s.worker(t, sleeper(time.Second)).Process(t.Context(), message())
		if got := s.events(); got != "started started started heartbeat succeeded" {
			t.Errorf("events: %s", got)
		}
	})
}

func TestHeartbeatsGoOnWhileAHandlerCleansUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, to(task.EventHeartbeat, reply{body: cancelRequested}))
		w := s.worker(t, func(ctx context.Context, _ *worker.Task) (any, error) {
			<-ctx.Done()
			time.Sleep(31 * time.Second) // the bubble's clock
			return nil, context.Cause(ctx)
		})
		w.Process(t.Context(), message())
		if got := s.events(); got != "started heartbeat heartbeat heartbeat cancelled" {
			t.Errorf("events: %s", got)
		}
	})
}

func TestProgressIsReportedAndExtendsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, nil)
		w := s.worker(t, func(ctx context.Context, t *worker.Task) (any, error) {
			return nil, t.Progress(ctx, 0.5, "half")
		})
		if got := w.Process(t.Context(), message()); got != acknowledged || s.events() != "started progress succeeded" {
			t.Fatalf("outcome %+v after %s", got, s.events())
		}
		e := s.requests[1].Event
		if e.Attempt != 1 || e.LeaseSeconds != 45 || *e.Progress != (task.Progress{Fraction: 0.5, Message: "half"}) {
			t.Errorf("progress: %+v %+v", e, e.Progress)
		}
	})
}

func TestProgressThatBreaksTheRulesIsRefusedAndNotShortened(t *testing.T) {
	var tk worker.Task
	for _, err := range []error{
		tk.Progress(t.Context(), -0.1, ""),
		tk.Progress(t.Context(), 1.1, ""),
		tk.Progress(t.Context(), 1, strings.Repeat("é", 1001)),
		tk.Progress(t.Context(), 1, "\xff"),
	} {
		if err == nil {
			t.Error("no error")
		}
	}
	if err := tk.Progress(t.Context(), 1, strings.Repeat("é", 1000)); err != nil {
		t.Error(err)
	}
}

func TestAnUnreachableServiceDoesNotStopTheHandler(t *testing.T) {
	for _, c := range []struct {
		event string
		reply reply
	}{
		{task.EventHeartbeat, reply{status: 502}},
		{task.EventProgress, reply{status: 502}},
		{task.EventHeartbeat, reply{lost: true}},
		{task.EventHeartbeat, reply{status: 503}.retryAfter("86400")},
		// None of these is the service's word that the task is gone.
		{task.EventHeartbeat, reply{status: 503, body: `{"code":"unknown-task","acknowledge":false}`}},
		{task.EventHeartbeat, reply{status: 404, body: "<html>"}},
		{task.EventHeartbeat, reply{status: 404, body: `{"message":"Not Found"}`}},
		{task.EventHeartbeat, reply{status: 410, body: "<html>"}},
		{task.EventProgress, reply{status: 404, body: `{"message":"Not Found"}`}},
	} {
		event := c.event
		synctest.Test(t, func(t *testing.T) {
			s := newService(t, to(event, c.reply))
			w := s.worker(t, func(ctx context.Context, tk *worker.Task) (any, error) {
				if err := tk.Progress(ctx, 0, ""); err != nil {
					return nil, err
				}
				return sleeper(10*time.Minute)(ctx, tk) // the lease lapses many times over
			})
			if got := w.Process(t.Context(), message()); got != acknowledged || s.last().Type != task.EventSucceeded {
				t.Errorf("%s answered %+v: outcome %+v, last event %s", event, c.reply, got, s.last().Type)
			}
		})
	}
}

func TestARequestedCancelEndsTheContext(t *testing.T) {
	for name, c := range map[string]struct {
		where  string // the event that is answered with cancel_requested
		after  func(context.Context) (any, error)
		events string
	}{
		"obeyed":             {task.EventHeartbeat, func(ctx context.Context) (any, error) { return nil, context.Cause(ctx) }, "started heartbeat cancelled"},
		"obeyed at progress": {task.EventProgress, nil, "started progress cancelled"},
		"for good":           {task.EventHeartbeat, func(context.Context) (any, error) { return nil, worker.Permanent(errors.New("no")) }, "started heartbeat cancelled"},
		"too late":           {task.EventHeartbeat, func(context.Context) (any, error) { return 1, nil }, "started heartbeat succeeded"},
		"before it began":    {task.EventStarted, nil, "started cancelled"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t, to(c.where, reply{body: cancelRequested}))
				w := s.worker(t, func(ctx context.Context, tk *worker.Task) (any, error) {
					if c.where == task.EventProgress {
						err := tk.Progress(ctx, 0.1, "")
						if !errors.Is(err, worker.ErrCancelRequested) {
							t.Errorf("Progress: %v", err)
						}
						return nil, err
					}
					<-ctx.Done()
					if cause := context.Cause(ctx); !errors.Is(cause, worker.ErrCancelRequested) {
						t.Errorf("cause: %v", cause)
					}
					return c.after(ctx)
				})
				if got := w.Process(t.Context(), message()); got != acknowledged || s.events() != c.events {
					t.Errorf("outcome %+v after %s", got, s.events())
				}
			})
		})
	}
}

func TestALostAttemptEndsTheContextAndReportsNothingMore(t *testing.T) {
	for _, c := range []struct {
		reply reply
		kind  task.Kind
		want  worker.Outcome
	}{
		{problem(409, task.StaleAttempt), task.StaleAttempt, left},
		{problem(410, task.Finished), task.Finished, acknowledged},
		{problem(410, task.Cancelled), task.Cancelled, acknowledged},
		{problem(410, task.Expired), task.Expired, acknowledged},
		{problem(404, task.UnknownTask), task.UnknownTask, left},
	} {
		for _, result := range []error{nil, errors.New("no")} {
			t.Run(fmt.Sprint(c.kind, result), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newService(t, to(task.EventHeartbeat, c.reply))
					w := s.worker(t, func(ctx context.Context, tk *worker.Task) (any, error) {
						<-ctx.Done()
						cause := context.Cause(ctx)
						if !errors.Is(cause, worker.ErrLost) || !strings.Contains(cause.Error(), string(c.kind)) {
							t.Errorf("cause: %v", cause)
						}
						if err := tk.Progress(context.WithoutCancel(ctx), 1, ""); !errors.Is(err, worker.ErrLost) {
							t.Errorf("Progress: %v", err)
						}
						time.Sleep(time.Minute) // the bubble's clock: heartbeats would show
						return nil, result
					})
					if got := w.Process(t.Context(), message()); got != c.want || s.events() != "started heartbeat" {
						t.Errorf("outcome %+v after %s", got, s.events())
					}
				})
			})
		}
	}
}

func TestAStoppingWorkerHandsItsTaskBack(t *testing.T) {
	stopping := errors.New("scaled in")
	for name, c := range map[string]struct {
		err    error
		script func(int, task.Event) reply
		events string
		want   worker.Outcome
	}{
		"it gives up":           {stopping, nil, "started failed", left},
		"it had a result":       {nil, nil, "started succeeded", acknowledged},
		"it failed for good":    {worker.Permanent(stopping), nil, "started failed", acknowledged},
		"the attempts are used": {stopping, to(task.EventFailed, reply{body: `{"acknowledge":true}`}), "started failed", acknowledged},
		"one report gets lost":  {stopping, flakyOnce(task.EventFailed), "started failed failed", left},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t, c.script)
				ctx, stop := context.WithCancelCause(t.Context())
				w := s.worker(t, func(ctx context.Context, _ *worker.Task) (any, error) {
					stop(stopping)
					<-ctx.Done()
					if cause := context.Cause(ctx); cause != stopping {
						t.Errorf("cause: %v", cause)
					}
					return 1, c.err
				})
				if got := w.Process(ctx, message()); got != c.want || s.events() != c.events {
					t.Fatalf("outcome %+v after %s", got, s.events())
				}
				if e := s.last(); e.Error != nil && !strings.Contains(e.Error.Traceback, "the worker is stopping: scaled in") {
					t.Errorf("traceback: %s", e.Error.Traceback)
				}
			})
		})
	}
}

func TestAStoppingWorkerDoesNotWaitForAServiceThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, to(task.EventFailed, reply{status: 503}))
		ctx, stop := context.WithCancel(t.Context())
		w := s.worker(t, func(ctx context.Context, _ *worker.Task) (any, error) {
			stop()
			return nil, context.Cause(ctx)
		})
		began := time.Now()
		if got := w.Process(ctx, message()); got != left {
			t.Errorf("outcome %+v", got)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// flakyOnce returns a script that answers the first event of a type with 503.
func flakyOnce(event string) func(int, task.Event) reply {
	return func(n int, e task.Event) reply {
		if e.Type == event && n == 1 {
			return reply{status: 503}
		}
		return reply{}
	}
}
