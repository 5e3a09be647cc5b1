package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/worker"
)

var (
	acknowledged = worker.Outcome{Acknowledge: true}
	left         = worker.Outcome{}
)

func TestATaskIsStartedAndItsResultReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, nil)
		mux := worker.NewMux()
		mux.HandleFunc("add", func(_ context.Context, t *worker.Task) (any, error) {
			var a, b int
			if err := t.Args(&a, &b); err != nil {
				return nil, err
			}
			return a + b, nil
		})
		w := newWorker(t, worker.Config{Handler: mux, EventsBase: base, Client: s.client, ID: "w1"})
		if got := w.Process(t.Context(), message()); got != acknowledged {
			t.Errorf("outcome %+v", got)
		}
		if got := s.events(); got != "started succeeded" {
			t.Fatalf("events: %s", got)
		}
		started, succeeded := s.requests[0], s.requests[1]
		if started.WorkerID != "w1" || len(started.DeliveryID) < 20 || started.LeaseSeconds != 45 {
			t.Errorf("started: %+v", started.Event)
		}
		if succeeded.Attempt != 1 || string(succeeded.ReturnValue) != "3" {
			t.Errorf("succeeded: %+v", succeeded.Event)
		}
		for _, r := range s.requests {
			if r.header.Get("Taskgate-Token") != token || r.header.Get("Traceparent") != parent ||
				r.header.Get("Content-Type") != "application/json" || r.path != "/stage/v1/tasks/"+id+"/events" {
				t.Errorf("%s: %s %v", r.Type, r.path, r.header)
			}
		}
	})
}

func TestReportsGoOverARealNetwork(t *testing.T) {
	var types []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e task.Event
		_ = json.NewDecoder(r.Body).Decode(&e) // a missing type shows below
		types = append(types, e.Type)
		reply{}.write(w, r, e)
	}))
	defer server.Close()
	w := newWorker(t, worker.Config{Handler: worker.HandlerFunc(three), EventsBase: server.URL})
	got := w.Process(t.Context(), message(func(m *task.Message) { m.EventsURL = server.URL + "/v1/tasks/1/events" }))
	if got != acknowledged || strings.Join(types, " ") != "started succeeded" {
		t.Errorf("outcome %+v after %v", got, types)
	}
}

func TestTheAnswerToStartedDecides(t *testing.T) {
	for name, c := range map[string]struct {
		reply reply
		want  worker.Outcome
	}{
		"lease-held":         {problem(409, task.LeaseHeld).retryAfter("17"), worker.Outcome{Delay: 17 * time.Second}},
		"finished":           {problem(410, task.Finished), acknowledged},
		"cancelled":          {problem(410, task.Cancelled), acknowledged},
		"expired":            {problem(410, task.Expired), acknowledged},
		"unknown-task":       {problem(404, task.UnknownTask), left},
		"unauthenticated":    {problem(401, task.Unauthenticated), left},
		"a gateway's answer": {reply{status: 403, body: `{"message":"Forbidden"}`}, left},
		"not JSON":           {reply{status: 410, body: `<html>`}, left},
		"another 200":        {reply{status: 200, body: `{"ok":true}`}, left},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t, func(int, task.Event) reply { return c.reply })
				w := s.worker(t, func(context.Context, *worker.Task) (any, error) {
					t.Error("the handler ran")
					return nil, nil
				})
				if got := w.Process(t.Context(), message()); got != c.want || s.events() != "started" {
					t.Errorf("outcome %+v after %s", got, s.events())
				}
			})
		})
	}
}

func TestOffloadedArgumentsComeFromTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, func(_ int, e task.Event) reply {
			if e.Type == task.EventStarted {
				return reply{body: `{"acknowledge":false,"attempt":7,"args":[12345678901234567890,"<&>"],"kwargs":{"x":1.10}}`}
			}
			return reply{}
		})
		w := s.worker(t, func(_ context.Context, t *worker.Task) (any, error) {
			return []any{t.Attempt, t.RawArgs, t.RawKwargs}, nil
		})
		got := w.Process(t.Context(), message(func(m *task.Message) { m.Args, m.Kwargs, m.Offloaded = nil, nil, true }))
		if got != acknowledged {
			t.Errorf("outcome %+v", got)
		}
		if v := string(s.last().ReturnValue); v != `[7,[12345678901234567890,"<&>"],{"x":1.10}]` || s.last().Attempt != 7 {
			t.Errorf("attempt %d, return_value %s", s.last().Attempt, v)
		}
	})
}

// TestArgumentsThatCannotBeReadFailTheTask: the task is known, so its record
// says what was wrong.
func TestArgumentsThatCannotBeReadFailTheTask(t *testing.T) {
	edited := func(old, new string) worker.Delivery {
		return worker.Delivery{Body: []byte(strings.Replace(string(message().Body), old, new, 1))}
	}
	envelope := `{"id":"` + id + `","v":1,"events_url":"` + base + `/e","token":"` + token + `"}`
	for name, c := range map[string]struct {
		delivery worker.Delivery
		text     string
	}{
		"a duplicate name": {edited(`{}`, `{"a":1,"a":2}`), "duplicate"},
		"not UTF-8":        {edited(`[1,2]`, "[\"\xff\"]"), "UTF-8"},
		"in a plain payload": {worker.Delivery{
			Body:       []byte(`{"task_name":"add","args":[],"kwargs":{"a":1,"a":2}}`),
			Attributes: map[string]string{task.AttributeEnvelope: envelope},
		}, "duplicate"},
		"offloaded, and not handed over": {message(func(m *task.Message) { m.Args, m.Kwargs, m.Offloaded = nil, nil, true }), "no args"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t, nil)
				w := s.worker(t, func(context.Context, *worker.Task) (any, error) {
					t.Error("the handler ran")
					return nil, nil
				})
				if got := w.Process(t.Context(), c.delivery); got != acknowledged || s.events() != "started failed" {
					t.Fatalf("outcome %+v after %q", got, s.events())
				}
				if e := s.last(); e.Retryable || !strings.Contains(e.Error.Traceback, c.text) {
					t.Errorf("failed: retryable %t, %s", e.Retryable, e.Error.Traceback)
				}
			})
		})
	}
}

func TestAPlainPayloadIsReadFromItsAttribute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, nil)
		envelope := `{"id":"` + id + `","v":1,"events_url":"` + base + `/e","token":"` + token + `"}`
		got := s.worker(t, three).Process(t.Context(), worker.Delivery{
			Body:       []byte(`{"task_name":"add","args":[],"kwargs":{}}`),
			Attributes: map[string]string{task.AttributeEnvelope: envelope},
		})
		if got != acknowledged || s.last().path != "/stage/e" {
			t.Errorf("outcome %+v, reported at %s", got, s.last().path)
		}
	})
}

func TestAnUnreadableMessageIsLeftToTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, nil)
		for name, d := range map[string]worker.Delivery{
			"empty":                           {},
			"not JSON":                        {Body: []byte("hello")},
			"no task_name":                    message(func(m *task.Message) { m.TaskName = "" }),
			"no id":                           message(func(m *task.Message) { m.ID = "" }),
			"no token":                        message(func(m *task.Message) { m.Token = "" }),
			"token of a line":                 message(func(m *task.Message) { m.Token = "a\r\nX: b" }),
			"token with a newline at its end": message(func(m *task.Message) { m.Token += "\n" }),
			"token with a space":              message(func(m *task.Message) { m.Token += " " }),
			"newer version":                   message(func(m *task.Message) { m.V = 2 }),
		} {
			if got := s.worker(t, three).Process(t.Context(), d); got != left || s.events() != "" {
				t.Errorf("%s: outcome %+v after %q", name, got, s.events())
			}
		}
	})
}

// TestTheLogHasNoPayloadAndNoSecret: not even names of arguments, which the
// JSON parser's own errors quote.
func TestTheLogHasNoPayloadAndNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := newService(t, nil)
		w, err := worker.New(worker.Config{
			Handler: worker.HandlerFunc(fails(errors.New("CANARY"))), EventsBase: base, Client: s.client, Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []worker.Delivery{
			message(func(m *task.Message) { m.Args = []byte(`["CANARY"]`) }),
			message(func(m *task.Message) { m.Token = "CANARY\n" }),
			{Body: []byte(`{"kwargs":{"CANARY":1,"CANARY":2}}`)},
			{Body: []byte(`{"task_name":"a","kwargs":{"CANARY":`)},
			{Body: []byte(`{"task_name":"a","metadata":{"CANARY":1}}`)},
			{Body: []byte(strings.Replace(string(message().Body), `{}`, `{"CANARY":1,"CANARY":2}`, 1))},
		} {
			w.Process(t.Context(), d)
			w.DeadLetter(t.Context(), d)
		}
		if strings.Contains(log.String(), "CANARY") || strings.Contains(log.String(), token) || strings.Count(log.String(), "\n") != 12 {
			t.Errorf("the log is\n%s", log.String())
		}
	})
}

func TestAResultThatCannotBeReportedFailsTheTaskForGood(t *testing.T) {
	refuse := func(r reply) func(int, task.Event) reply {
		return func(_ int, e task.Event) reply {
			if e.Type == task.EventSucceeded {
				return r
			}
			return reply{}
		}
	}
	for name, c := range map[string]struct {
		result any
		script func(int, task.Event) reply
		events string
		text   string
	}{
		"NaN":              {math.NaN(), nil, "started failed", "cannot be encoded"},
		"a channel":        {make(chan int), nil, "started failed", "cannot be encoded"},
		"a function":       {func() {}, nil, "started failed", "cannot be encoded"},
		"a cycle":          {cycle(), nil, "started failed", "cycle"},
		"too deep":         {json.RawMessage(strings.Repeat("[", 100) + strings.Repeat("]", 100)), nil, "started failed", "cannot be encoded"},
		"a duplicate name": {json.RawMessage(`{"a":1,"a":2}`), nil, "started failed", "duplicate name"},
		"too large":        {1, refuse(problem(413, task.ResultTooLarge)), "started succeeded failed", "result-too-large"},
		"a gateway's 413":  {1, refuse(reply{status: 413, body: "too large"}), "started succeeded failed", "413"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t, c.script)
				w := s.worker(t, func(context.Context, *worker.Task) (any, error) { return c.result, nil })
				if got := w.Process(t.Context(), message()); got != acknowledged || s.events() != c.events {
					t.Fatalf("outcome %+v after %s", got, s.events())
				}
				if e := s.last(); e.Retryable || !strings.Contains(e.Error.Traceback, c.text) {
					t.Errorf("failed: retryable %t, %s", e.Retryable, e.Error.Traceback)
				}
			})
		})
	}
}

// cycle is a value that contains itself.
func cycle() any {
	c := map[string]any{}
	c["self"] = c
	return c
}

func TestADeadLetterIsReported(t *testing.T) {
	for name, c := range map[string]struct {
		reply reply
		want  worker.Outcome
	}{
		"taken":      {reply{}, acknowledged},
		"finished":   {problem(410, task.Finished), acknowledged},
		"lease-held": {problem(409, task.LeaseHeld).retryAfter("30"), worker.Outcome{Delay: 30 * time.Second}},
		"unknown":    {problem(404, task.UnknownTask), left},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t, func(int, task.Event) reply { return c.reply })
			if got := s.worker(t, three).DeadLetter(t.Context(), message()); got != c.want || s.events() != "dead_lettered" {
				t.Errorf("%s: outcome %+v after %s", name, got, s.events())
			}
			if got := s.worker(t, three).DeadLetter(t.Context(), worker.Delivery{Body: []byte("?")}); got != left {
				t.Errorf("unreadable: outcome %+v", got)
			}
		})
	}
}

func TestAnObserverRunsItsHandlerAndReportsNothing(t *testing.T) {
	plain := worker.Delivery{Body: []byte(`{"task_name":"add","args":[1],"kwargs":{}}`)}
	for name, c := range map[string]struct {
		delivery worker.Delivery
		err      error
		want     worker.Outcome
	}{
		"a whole message":  {message(), nil, acknowledged},
		"the three keys":   {plain, nil, acknowledged},
		"a failed handler": {plain, errors.New("no"), left},
		"offloaded":        {message(func(m *task.Message) { m.Offloaded = true }), nil, left},
	} {
		w := newWorker(t, worker.Config{Observe: true, Handler: worker.HandlerFunc(
			func(ctx context.Context, t *worker.Task) (any, error) {
				return nil, errors.Join(c.err, t.Progress(ctx, 0.5, "half"))
			})})
		if got := w.Process(t.Context(), c.delivery); got != c.want {
			t.Errorf("%s: outcome %+v", name, got)
		}
	}
	w := newWorker(t, worker.Config{Observe: true, Handler: worker.HandlerFunc(
		func(context.Context, *worker.Task) (any, error) { panic("no") })})
	if got := w.Process(t.Context(), plain); got != left {
		t.Errorf("a panic: outcome %+v", got)
	}
}
