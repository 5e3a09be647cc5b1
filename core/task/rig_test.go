package task_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
)

// epoch is when every test begins.
var epoch = time.Date(2026, 11, 23, 9, 0, 0, 123456000, time.UTC)

const resultTTL = 7 * 24 * time.Hour

// rig is a service over the store and the queue in memory, with a clock that
// stands still until it is moved.
type rig struct {
	*task.Service
	store *tasktest.Store
	queue *tasktest.Queue

	mu  sync.Mutex
	now time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{store: &tasktest.Store{}, queue: &tasktest.Queue{}, now: epoch}
	r.queue.Now = r.clock
	ids := 0
	r.Service = &task.Service{
		Store:           r.store,
		Backends:        map[string]task.Backend{"default": {Dispatcher: r.queue, Target: "memory", DefaultQueue: "default"}},
		Tokens:          task.Tokens{Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}},
		ResultTTL:       resultTTL,
		MaxWait:         20 * time.Second,
		MaxPayloadBytes: 1 << 20,
		Now:             r.clock,
		NewID: func() string {
			r.mu.Lock()
			defer r.mu.Unlock()
			ids++
			return fmt.Sprintf("01936b5e-0000-7000-8000-%012x", ids)
		},
		Log: slog.New(slog.DiscardHandler),
	}
	return r
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) advance(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

var call = task.Call{Owner: "alice", BaseURL: "https://tasks.example.com"}

// parse decodes a request that is known to be right.
func parse(t *testing.T, body string) task.Request {
	t.Helper()
	req, err := task.ParseRequest(jsontext.Value(body), false)
	if err != nil {
		t.Fatalf("ParseRequest(%s): %v", body, err)
	}
	return req
}

// enqueue enqueues a task that must be accepted.
func (r *rig) enqueue(t *testing.T, body string) task.Document {
	t.Helper()
	accepted, err := r.Enqueue(t.Context(), call, parse(t, body))
	if err != nil {
		t.Fatalf("Enqueue(%s): %v", body, err)
	}
	return accepted.Task
}

// keyed enqueues with an Idempotency-Key.
func (r *rig) keyed(ctx context.Context, t *testing.T, key, body string) (task.Accepted, error) {
	t.Helper()
	req := parse(t, body)
	req.Key = key
	return r.Enqueue(ctx, call, req)
}

// report reports an event with the right token.
func (r *rig) report(ctx context.Context, id string, e task.Event) (task.Answer, error) {
	reporter, err := r.Reporter(id, r.Tokens.Sign(id, task.Time{}, r.clock().Add(time.Hour)))
	if err != nil {
		return task.Answer{}, err
	}
	return reporter.Report(ctx, e)
}

// must reports an event that must take effect.
func (r *rig) must(t *testing.T, id string, e task.Event) task.Answer {
	t.Helper()
	a, err := r.report(t.Context(), id, e)
	if err != nil {
		t.Fatalf("%s: %v", e.Type, err)
	}
	return a
}

func (r *rig) get(t *testing.T, id string) task.Document {
	t.Helper()
	doc, err := r.Get(t.Context(), call, id, 0)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	return doc.Document
}

func started(delivery string) task.Event {
	return task.Event{Type: task.EventStarted, WorkerID: "w", DeliveryID: delivery}
}

func failed(attempt int, retryable bool) task.Event {
	return task.Event{
		Type: task.EventFailed, Attempt: attempt, Retryable: retryable,
		Error: &task.TaskError{ExceptionClassPath: "builtins.ValueError", Traceback: "boom"},
	}
}

func succeeded(attempt int, value string) task.Event {
	return task.Event{Type: task.EventSucceeded, Attempt: attempt, ReturnValue: jsontext.Value(value)}
}

func wantKind(t *testing.T, err error, want task.Kind) {
	t.Helper()
	if got := task.KindOf(err); got != want {
		t.Fatalf("error %v is %q, want %q", err, got, want)
	}
}
