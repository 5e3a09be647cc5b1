package worker

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
	"github.com/taskgate/taskgate/core/task"
)

// stopGrace is how long a final report is tried once the worker is stopping.
const stopGrace = 5 * time.Second

// Process runs the handler for a delivered message and says what to do with it.
//
// Process repeats a report while the service cannot be reached: the first and
// the last for as long as one lease. If the last report is never answered, the
// message is left to the broker, and the next delivery finds out what took effect.
//
// When ctx ends, the worker is stopping. The handler's context ends too. Process
// waits for the handler to return, and then reports for a few seconds. A result
// counts. An error is reported as failed, and the task is tried again unless the
// error is [Permanent]: the next delivery need not wait for the lease to lapse.
// The attempt counts, as it would if its lease lapsed.
func (w *Worker) Process(ctx context.Context, d Delivery) Outcome {
	m, bad, err := w.read(d)
	if err != nil {
		return w.unreadable(ctx, m, err)
	}
	log := w.log.With("task_id", m.ID, "task_name", m.TaskName, "traceparent", m.Traceparent)
	if w.observe {
		return w.watch(ctx, m, log)
	}
	a := &attempt{reporter: newReporter(w.client, m), lease: w.lease, began: time.Now(), log: log}
	ans, err := a.send(ctx, task.Event{
		Type:         task.EventStarted,
		WorkerID:     w.id,
		DeliveryID:   rand.Text(),
		LeaseSeconds: int(w.lease / time.Second),
	}, w.lease)
	if err = cmp.Or(err, ans.err()); err == nil && ans.Attempt < 1 {
		err = errors.New("the answer names no attempt")
	}
	if err != nil {
		log.WarnContext(ctx, "task not started", "acknowledge", ans.Acknowledge, "error", err)
		return ans.outcome()
	}
	a.number = ans.Attempt
	if m.Offloaded {
		if m.Args, m.Kwargs = ans.Args, ans.Kwargs; len(m.Args) == 0 || len(m.Kwargs) == 0 {
			bad = errors.New("the answer to started has no args or no kwargs, and the message has none either")
		}
	}

	var handling context.Context
	handling, a.end = context.WithCancelCause(ctx)
	defer a.end(nil)
	t := newTask(m)
	t.Attempt, t.progress = a.number, a.progress(handling)
	end := task.Event{Type: task.EventCancelled}
	switch a.obey(ans); {
	case a.cancelWanted():
	case bad != nil:
		end = failed(Permanent(bad))
	default:
		end = a.run(handling, w.handler, t)
	}
	ans, err = a.finish(ctx, end)
	log = log.With("attempt", a.number, "seconds", time.Since(a.began).Seconds(), "acknowledge", ans.Acknowledge)
	if err = cmp.Or(err, ans.err()); err != nil {
		log.WarnContext(ctx, "task "+end.Type+", but the report was not taken", "error", err)
	} else {
		log.InfoContext(ctx, "task "+end.Type)
	}
	return ans.outcome()
}

// finish reports how the attempt ended, unless it is lost.
func (a *attempt) finish(ctx context.Context, e task.Event) (answer, error) {
	if lost := a.lostAnswer(); lost != nil {
		return *lost, nil
	}
	ans, err := a.conclude(ctx, e)
	if err != nil || e.Type != task.EventSucceeded {
		return ans, err
	}
	switch ans.status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		refused := fmt.Errorf("the task ran, but its result was refused: %d %s %s", ans.status, ans.Code, ans.Detail)
		return a.conclude(ctx, failed(Permanent(refused)))
	}
	return ans, nil
}

func (a *attempt) conclude(ctx context.Context, e task.Event) (answer, error) {
	e.Attempt = a.number
	ans, err := a.send(ctx, e, a.lease)
	if err != nil && ctx.Err() != nil {
		ans, err = a.send(context.WithoutCancel(ctx), e, stopGrace)
	}
	return ans, err
}

// DeadLetter reports a message from a dead-letter queue: the broker gave up on it.
// The message is acknowledged when the task has ended. It stays for a human when
// it cannot be read, or when the service does not know its task. A worker that
// observes reports nothing and leaves the message.
func (w *Worker) DeadLetter(ctx context.Context, d Delivery) Outcome {
	if w.observe {
		return Outcome{}
	}
	m, _, err := w.read(d)
	if err != nil {
		return w.unreadable(ctx, m, err)
	}
	e := task.Event{Type: task.EventDeadLettered, WorkerID: w.id}
	ans, err := newReporter(w.client, m).send(ctx, e, w.lease)
	w.log.WarnContext(ctx, "task dead-lettered", "task_id", m.ID, "task_name", m.TaskName,
		"acknowledge", ans.Acknowledge, "error", cmp.Or(err, ans.err()))
	return ans.outcome()
}

// watch runs the handler of an observer. No record holds its error, so the error is logged.
func (w *Worker) watch(ctx context.Context, m task.Message, log *slog.Logger) Outcome {
	if _, err := call(ctx, w.handler, newTask(m)); err != nil {
		log.ErrorContext(ctx, "observing failed", "error", err)
		return Outcome{}
	}
	log.InfoContext(ctx, "observed")
	return Outcome{Acknowledge: true}
}

func newTask(m task.Message) *Task {
	or := func(v jsontext.Value, empty string) json.RawMessage {
		if len(v) == 0 {
			return json.RawMessage(empty)
		}
		return json.RawMessage(v)
	}
	return &Task{
		ID:          m.ID,
		Name:        m.TaskName,
		EnqueuedAt:  m.EnqueuedAt.Time,
		MaxAttempts: m.MaxAttempts,
		Metadata:    m.Metadata,
		Traceparent: m.Traceparent,
		Tracestate:  m.Tracestate,
		RawArgs:     or(m.Args, "[]"),
		RawKwargs:   or(m.Kwargs, "{}"),
	}
}

// encodeResult returns a result as JSON that an event can carry.
func encodeResult(v any) (jsontext.Value, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	if err == nil {
		err = strictjson.Check(b.Bytes())
	}
	if err != nil {
		return nil, Permanent(errors.Join(errors.New("the task ran, but its result cannot be encoded as JSON"), err))
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
