package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
	"github.com/taskgate/taskgate/core/worker"
	"github.com/taskgate/taskgate/tests/apitest"
)

// real is the service itself, with its store and its queue in memory, on an
// in-memory network. Every report is held to openapi.yaml.
type real struct {
	*testing.T
	service *task.Service
	queue   *tasktest.Queue
	client  *http.Client
}

var caller = task.Call{Owner: "alice", BaseURL: "http://taskgate.test"}

// newReal starts the service, whose clock is ahead of the worker's by skew.
func newReal(t *testing.T, skew time.Duration, edit func(*task.Backend, *tasktest.Queue, *tasktest.Store)) *real {
	queue, store, ids := &tasktest.Queue{}, &tasktest.Store{MaxBytes: 1000}, 0
	queue.Now = func() time.Time { return time.Now().Add(skew) }
	backend := task.Backend{Dispatcher: queue, Target: "memory", DefaultQueue: "default"}
	if edit != nil {
		edit(&backend, queue, store)
	}
	service := &task.Service{
		Store:           store,
		Backends:        map[string]task.Backend{"default": backend},
		Tokens:          task.Tokens{Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}},
		ResultTTL:       time.Hour,
		MaxPayloadBytes: 1 << 20,
		Now:             func() time.Time { return time.Now().Add(skew) },
		NewID:           func() string { ids++; return fmt.Sprintf("01936b5e-0000-7000-8000-%012x", ids) },
		Log:             slog.New(slog.DiscardHandler),
	}
	l := &memory{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: httpapi.New(httpapi.Config{Service: service, Auth: httpapi.Keys(nil), Log: service.Log})}
	go server.Serve(l)
	transport := &http.Transport{DialContext: l.dial}
	t.Cleanup(func() { transport.CloseIdleConnections(); server.Close() })
	return &real{t, service, queue, &http.Client{Transport: contract{t, apitest.Transport{Base: transport}}}}
}

// contract fails the test where a request or its answer breaks the contract;
// to the worker that is a network error, which it would only repeat.
type contract struct {
	t *testing.T
	apitest.Transport
}

func (c contract) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := c.Transport.RoundTrip(r)
	if err != nil && strings.Contains(err.Error(), "contract") {
		c.t.Error(err)
	}
	return res, err
}

// enqueue enqueues the task and returns its id and its message.
func (r *real) enqueue(request string) (string, worker.Delivery) {
	r.Helper()
	req, err := task.ParseRequest(jsontext.Value(request), false)
	if err != nil {
		r.Fatal(err)
	}
	accepted, err := r.service.Enqueue(r.Context(), caller, req)
	if err != nil {
		r.Fatal(err)
	}
	m := r.queue.Take()[0]
	return accepted.Task.ID, worker.Delivery{Body: m.Body, Attributes: m.Attributes}
}

func (r *real) worker(f worker.HandlerFunc) *worker.Worker {
	return newWorker(r.T, worker.Config{Handler: f, EventsBase: caller.BaseURL, Client: r.client, ID: "w"})
}

// is checks what the document says about the task, as "state attempts".
func (r *real) is(id, want string) task.Document {
	r.Helper()
	d, err := r.service.Get(r.Context(), caller, id, 0)
	if err != nil {
		r.Fatal(err)
	}
	if got := fmt.Sprint(d.State, " ", d.Attempts); got != want {
		r.Errorf("the task is %s, want %s (errors: %v)", got, want, d.Errors)
	}
	return d.Document
}

func (r *real) process(w *worker.Worker, d worker.Delivery, want worker.Outcome) {
	r.Helper()
	if got := w.Process(r.Context(), d); got != want {
		r.Errorf("outcome %+v, want %+v", got, want)
	}
}

// TestWorkerAndServiceAgree whatever a worker's clock shows: no event carries an
// instant, and every lease and expiry is the service's.
func TestWorkerAndServiceAgree(t *testing.T) {
	offloading := func(_ *task.Backend, q *tasktest.Queue, _ *tasktest.Store) {
		q.LimitsOf = func(queue string, delay time.Duration) task.Limits {
			l := tasktest.Unlimited(queue, delay)
			l.MaxMessageBytes = new(int64(600))
			return l
		}
	}
	plain := func(b *task.Backend, _ *tasktest.Queue, _ *tasktest.Store) { b.Payload = task.PayloadPlain }
	long := `{"task_name":"t","args":["` + strings.Repeat("x", 600) + `"]}`

	for name, c := range map[string]struct {
		edit func(*task.Backend, *tasktest.Queue, *tasktest.Store)
		run  func(*real)
	}{
		"a result, and its message again": {nil, func(r *real) {
			id, m := r.enqueue(`{"task_name":"t","args":[12345678901234567890]}`)
			w := r.worker(func(_ context.Context, t *worker.Task) (any, error) { return t.RawArgs, nil })
			r.process(w, m, acknowledged)
			if d := r.is(id, "SUCCEEDED 1"); string(d.ReturnValue) != "[12345678901234567890]" || d.WorkerIDs[0] != "w" {
				r.Errorf("return_value %s by %v", d.ReturnValue, d.WorkerIDs)
			}
			r.process(w, m, acknowledged)
			r.is(id, "SUCCEEDED 1")
		}},
		"a plain payload": {plain, func(r *real) {
			id, m := r.enqueue(`{"task_name":"t"}`)
			r.process(r.worker(three), m, acknowledged)
			r.is(id, "SUCCEEDED 1")
		}},
		"offloaded arguments": {offloading, func(r *real) {
			id, m := r.enqueue(long)
			var n int
			r.process(r.worker(func(_ context.Context, t *worker.Task) (any, error) {
				n = len(t.RawArgs)
				return nil, nil
			}), m, acknowledged)
			r.is(id, "SUCCEEDED 1")
			if n != 604 {
				r.Errorf("the handler had %d bytes of arguments", n)
			}
		}},
		"failed, tried again, and out of attempts": {nil, func(r *real) {
			id, m := r.enqueue(`{"task_name":"t","max_attempts":2}`)
			w := r.worker(fails(errors.New("no")))
			r.process(w, m, left)
			r.is(id, "RETRYING 1")
			r.process(w, m, acknowledged)
			if d := r.is(id, "FAILED 2"); len(d.Errors) != 2 || d.Errors[1].ExceptionClassPath != "builtins.Exception" {
				r.Errorf("errors: %v", d.Errors)
			}
		}},
		"failed for good": {nil, func(r *real) {
			id, m := r.enqueue(`{"task_name":"t"}`)
			r.process(r.worker(fails(worker.Permanent(errors.New("no")))), m, acknowledged)
			r.is(id, "FAILED 1")
		}},
		"a result too large to store": {nil, func(r *real) {
			id, m := r.enqueue(`{"task_name":"t"}`)
			r.process(r.worker(returns(strings.Repeat("x", 2000))), m, acknowledged)
			if d := r.is(id, "FAILED 1"); !strings.Contains(fmt.Sprint(d.Errors), "result-too-large") {
				r.Errorf("errors: %v", d.Errors)
			}
		}},
		"a long task with progress, delivered twice": {nil, func(r *real) {
			id, m := r.enqueue(`{"task_name":"t"}`)
			w := r.worker(func(ctx context.Context, tk *worker.Task) (any, error) {
				if err := tk.Progress(ctx, 0.5, "half"); err != nil {
					return nil, err
				}
				return sleeper(5*time.Minute)(ctx, tk)
			})
			done := make(chan worker.Outcome)
			go func() { done <- w.Process(r.Context(), m) }()
			time.Sleep(2*time.Minute + time.Second) // the bubble's clock
			if d := r.is(id, "RUNNING 1"); d.Progress == nil || d.Progress.Fraction != 0.5 {
				r.Errorf("progress: %+v", d.Progress)
			}
			second := w.Process(r.Context(), m)
			if second.Acknowledge || second.Delay < 40*time.Second || second.Delay > 46*time.Second {
				r.Errorf("the second delivery: %+v", second)
			}
			if got := <-done; got != acknowledged {
				r.Errorf("the first delivery: %+v", got)
			}
			r.is(id, "SUCCEEDED 1")
		}},
		"cancelled while it runs": {nil, func(r *real) {
			id, m := r.enqueue(`{"task_name":"t"}`)
			w := r.worker(func(ctx context.Context, tk *worker.Task) (any, error) {
				if prevented, _, err := r.service.Cancel(r.Context(), caller, id); prevented || err != nil {
					r.Errorf("Cancel: %t %v", prevented, err)
				}
				return sleeper(time.Hour)(ctx, tk)
			})
			r.process(w, m, acknowledged)
			r.is(id, "CANCELLED 1")
		}},
		"cancelled before it began": {nil, func(r *real) {
			id, m := r.enqueue(`{"task_name":"t"}`)
			if _, _, err := r.service.Cancel(r.Context(), caller, id); err != nil {
				r.Error(err)
			}
			r.process(r.worker(three), m, acknowledged)
			r.is(id, "CANCELLED 0")
		}},
		"expired before it began": {nil, func(r *real) {
			id, m := r.enqueue(fmt.Sprintf(`{"task_name":"t","expires_at":%q}`, task.At(r.service.Now().Add(time.Minute))))
			time.Sleep(time.Minute) // the bubble's clock
			r.process(r.worker(three), m, acknowledged)
			r.is(id, "EXPIRED 0")
		}},
		"expired while it runs, which is too late": {nil, func(r *real) {
			id, m := r.enqueue(fmt.Sprintf(`{"task_name":"t","expires_at":%q}`, task.At(r.service.Now().Add(time.Minute))))
			r.process(r.worker(sleeper(2*time.Minute)), m, acknowledged)
			r.is(id, "SUCCEEDED 1")
		}},
		"a worker that dies, again and again, and the last delivery's word": {nil, func(r *real) {
			id, m := r.enqueue(`{"task_name":"t","max_attempts":3}`)
			for range 3 {
				ctx, kill := context.WithCancel(r.Context())
				dying := newWorker(r.T, worker.Config{EventsBase: caller.BaseURL, ID: "w", Handler: worker.HandlerFunc(func(context.Context, *worker.Task) (any, error) {
					kill()
					return nil, errors.New("nobody hears this")
				}), Client: &http.Client{Transport: mute{r.client.Transport, task.EventFailed}}})
				dying.Process(ctx, m)
				time.Sleep(time.Minute) // the bubble's clock: the lease lapses
			}
			r.is(id, "STALLED 3")
			r.process(r.worker(three), m, acknowledged)
			r.is(id, "FAILED 3")
		}},
		"a stalled attempt that comes back": {nil, func(r *real) {
			id, m := r.enqueue(`{"task_name":"t"}`)
			silent := &http.Client{Transport: mute{r.client.Transport, task.EventHeartbeat}}
			stalled := newWorker(r.T, worker.Config{
				Handler: sleeper(2 * time.Minute), EventsBase: caller.BaseURL, Client: silent, ID: "stalled"})
			done := make(chan worker.Outcome)
			go func() { done <- stalled.Process(r.Context(), m) }()
			time.Sleep(time.Minute) // the bubble's clock
			r.is(id, "STALLED 1")
			r.process(r.worker(returns("the second's")), m, acknowledged)
			if got := <-done; got != acknowledged {
				r.Errorf("the stalled delivery: %+v", got)
			}
			if d := r.is(id, "SUCCEEDED 2"); string(d.ReturnValue) != `"the second's"` {
				r.Errorf("return_value %s", d.ReturnValue)
			}
		}},
		"the dead-letter queue": {nil, func(r *real) {
			id, m := r.enqueue(`{"task_name":"t"}`)
			w := r.worker(fails(errors.New("no")))
			r.process(w, m, left)
			for range 2 { // it may be repeated
				if got := w.DeadLetter(r.Context(), m); got != acknowledged {
					r.Errorf("outcome %+v", got)
				}
			}
			r.is(id, "FAILED 1")
		}},
		"a store with hiccups": {nil, func(r *real) {
			id, m := r.enqueue(`{"task_name":"t"}`)
			store := r.service.Store.(*tasktest.Store)
			unavailable := task.Errorf(task.Unavailable, "as scripted")
			store.Inject(tasktest.Replace, tasktest.AppliedWith(unavailable))
			r.process(r.worker(func(context.Context, *worker.Task) (any, error) {
				store.Inject(tasktest.Replace, tasktest.RefusedWith(unavailable), tasktest.AppliedWith(unavailable))
				return 3, nil
			}), m, acknowledged)
			r.is(id, "SUCCEEDED 1")
		}},
	} {
		for _, skew := range []time.Duration{0, -5 * time.Minute, 5 * time.Minute} {
			t.Run(fmt.Sprint(name, " ", skew), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { c.run(newReal(t, skew, c.edit)) })
			})
		}
	}
}

// mute is a network that drops one type of events.
type mute struct {
	http.RoundTripper
	event string
}

func (m mute) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := r.GetBody()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text := make([]byte, 64)
	n, _ := body.Read(text)
	if strings.Contains(string(text[:n]), m.event) {
		return nil, errors.New("the network is down")
	}
	return m.RoundTripper.RoundTrip(r)
}
