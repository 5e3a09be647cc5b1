package functionsworker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskgate/taskgate/adapters/azure/functionsworker"
	"github.com/taskgate/taskgate/core/worker"
)

// message has what any layer that means well would change.
const message = `{"task_name":"t","args":[12345678901234567890, 1.10,"\u00e9\/ 😀 <&>"],"kwargs":{"a":"\"{}\""},"id":"1"}`

// app is a worker app that notes its deliveries.
type app struct {
	functionsworker.Config
	outcome   worker.Outcome
	delivered []worker.Delivery
}

func newApp(outcome worker.Outcome) *app {
	a := &app{outcome: outcome}
	a.Log = slog.New(slog.DiscardHandler)
	a.Functions = map[string]functionsworker.Function{"queue": {Deliver: func(_ context.Context, d worker.Delivery) worker.Outcome {
		a.delivered = append(a.delivered, d)
		return a.outcome
	}}}
	return a
}

// invoke makes the host's request and checks what the host insists on.
func (a *app) invoke(ctx context.Context, t *testing.T, method, path, body string) int {
	t.Helper()
	w := httptest.NewRecorder()
	functionsworker.New(t.Context(), a.Config).ServeHTTP(w, httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body)))
	var answer struct{ Outputs map[string]any }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Outputs == nil || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%s %s: the host would hang: %s %s, %v", method, path, w.Header(), w.Body, err)
	}
	return w.Code
}

// quoted returns s as a JSON string.
func quoted(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

func TestMessageBytesAreKeptInEveryEncoding(t *testing.T) {
	properties := `{"taskgate":"{\"id\":\"1\"}","task_name":"\"t\"","n":5,"nothing":null}`
	want := map[string]string{"taskgate": `{"id":"1"}`, "task_name": `"t"`}
	for name, payload := range map[string]string{
		"as text, as documented":       `{"Data":{"message":` + quoted(message) + `},"Metadata":{"DequeueCount":1,"ApplicationProperties":` + properties + `}}`,
		"as text in text, as it is":    `{"Data":{"message":` + quoted(quoted(message)) + `},"Metadata":{"DequeueCount":"1","ApplicationProperties":` + properties + `}}`,
		"as an object":                 `{"Data":{"message":` + message + `},"Metadata":{"UserProperties":` + properties + `,"sys":{"MethodName":"queue"}}}`,
		"properties as text":           `{"Data":{"message":` + message + `},"Metadata":{"ApplicationProperties":` + quoted(properties) + `}}`,
		"properties by their old name": `{"Data":{"message":` + message + `},"Metadata":{"ApplicationProperties":{},"UserProperties":` + quoted(properties) + `}}`,
	} {
		a := newApp(worker.Outcome{Acknowledge: true})
		if status := a.invoke(t.Context(), t, "POST", "/queue", payload); status != http.StatusOK || len(a.delivered) != 1 {
			t.Errorf("%s: %d, %d deliveries", name, status, len(a.delivered))
			continue
		}
		if d := a.delivered[0]; string(d.Body) != message || !maps.Equal(d.Attributes, want) {
			t.Errorf("%s: %s %v", name, d.Body, d.Attributes)
		}
	}
	a := newApp(worker.Outcome{Acknowledge: true})
	for _, metadata := range []string{`{}`, `null`, `{"ApplicationProperties":null}`, `{"Id":"\"1\"","PopReceipt":"\"x\""}`} {
		payload := `{"Data":{"message":` + quoted(quoted(message)) + `},"Metadata":` + metadata + `}`
		if status := a.invoke(t.Context(), t, "POST", "/queue", payload); status != http.StatusOK {
			t.Errorf("a Storage message with metadata %s: %d", metadata, status)
		}
	}
}

func TestUnacknowledgedMessageIsRedelivered(t *testing.T) {
	a := newApp(worker.Outcome{})
	if status := a.invoke(t.Context(), t, "POST", "/queue", `{"Data":{"m":`+message+`}}`); status != http.StatusInternalServerError {
		t.Errorf("answered %d", status)
	}
	for _, payload := range []string{
		``, `nope`, `{}`, `{"Data":{}}`, `{"Data":{"a":` + message + `,"b":` + message + `}}`, `{"Data":{"a":[1]}}`, `{"Data":{"a":"text"}}`,
		`{"Data":{"a":5}}`, `{"Data":{"a":"` + "\xff" + `"}}`, `{"Data":{"a":{}},"Metadata":{"ApplicationProperties":"x"}}`,
	} {
		a := newApp(worker.Outcome{Acknowledge: true})
		if status := a.invoke(t.Context(), t, "POST", "/queue", payload); status != http.StatusInternalServerError || len(a.delivered) != 0 {
			t.Errorf("%q is answered %d and delivered %d times", payload, status, len(a.delivered))
		}
	}
}

func TestUnknownFunctionIs404(t *testing.T) {
	a := newApp(worker.Outcome{Acknowledge: true})
	for _, request := range [][2]string{{"POST", "/"}, {"POST", "/other"}, {"POST", "/Queue"}, {"POST", "/queue/"}, {"POST", "//queue"}, {"GET", "/"}, {"GET", "/queue"}} {
		if status := a.invoke(t.Context(), t, request[0], request[1], `{"Data":{"m":`+message+`}}`); status != http.StatusNotFound {
			t.Errorf("%s %s: %d", request[0], request[1], status)
		}
	}
	if len(a.delivered) != 0 {
		t.Errorf("%d deliveries", len(a.delivered))
	}
}

func TestRefusalIsHeldForTheDelayThatTheWorkerAsksFor(t *testing.T) {
	for name, c := range map[string]struct {
		outcome    worker.Outcome
		pause      time.Duration
		hangsUp    time.Duration
		want       time.Duration
		wantStatus int
	}{
		"done":              {worker.Outcome{Acknowledge: true, Delay: time.Hour}, time.Second, 0, 0, 200},
		"at once":           {worker.Outcome{}, 0, 0, 0, 500},
		"a while":           {worker.Outcome{Delay: 20 * time.Second}, 0, 0, 20 * time.Second, 500},
		"bounded":           {worker.Outcome{Delay: time.Hour}, 0, 0, 30 * time.Second, 500},
		"at least":          {worker.Outcome{}, time.Minute, 0, time.Minute, 500},
		"the host has gone": {worker.Outcome{Delay: 20 * time.Second}, 0, time.Second, time.Second, 500},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newApp(c.outcome)
				f := a.Functions["queue"]
				f.Pause = c.pause
				a.Functions["queue"], a.MaxPause = f, 30*time.Second
				ctx := t.Context()
				if c.hangsUp > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.hangsUp)
					defer cancel()
				}
				start := time.Now()
				status := a.invoke(ctx, t, "POST", "/queue", `{"Data":{"m":`+message+`}}`)
				if took := time.Since(start); status != c.wantStatus || took != c.want {
					t.Errorf("%d after %v", status, took)
				}
			})
		})
	}
}

func TestTaskOutlivesItsInvocationButNotTheProcess(t *testing.T) {
	stop, end := context.WithCancelCause(t.Context())
	handling := make(chan context.Context, 1)
	h := functionsworker.New(stop, functionsworker.Config{
		Log: slog.New(slog.DiscardHandler),
		Functions: map[string]functionsworker.Function{"queue": {Deliver: func(ctx context.Context, _ worker.Delivery) worker.Outcome {
			handling <- ctx
			return worker.Outcome{Acknowledge: true}
		}}},
	})
	gone, leave := context.WithCancel(t.Context())
	leave()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(gone, "POST", "/queue", strings.NewReader(`{"Data":{"m":`+message+`}}`)))
	ctx := <-handling
	if ctx.Err() != nil {
		t.Error("the task ended with the invocation")
	}
	end(context.Canceled)
	if ctx.Err() == nil {
		t.Error("the task goes on when the process is to end")
	}
}

// TestTaskEndsBeforeTheHostsTimeout: the host kills the process when
// one invocation exceeds functionTimeout.
func TestTaskEndsBeforeTheHostsTimeout(t *testing.T) {
	const timeout = 30 * time.Minute
	for name, c := range map[string]struct {
		deliver func(context.Context) worker.Outcome
		want    time.Duration // when it is answered, by which status
		status  int
	}{
		"a handler that ends with its context": {func(ctx context.Context) worker.Outcome {
			<-ctx.Done()
			time.Sleep(3 * time.Second) // reports
			return worker.Outcome{}
		}, timeout - 5*time.Second, 500},
		"a result that comes just in time": {func(ctx context.Context) worker.Outcome {
			<-ctx.Done()
			return worker.Outcome{Acknowledge: true}
		}, timeout - 8*time.Second, 200},
		"a handler that ignores its context": {func(context.Context) worker.Outcome {
			time.Sleep(2 * timeout)
			return worker.Outcome{Acknowledge: true}
		}, timeout - 2*time.Second, 500},
		"a refusal that is to be held": {func(ctx context.Context) worker.Outcome {
			<-ctx.Done()
			return worker.Outcome{Delay: 20 * time.Second}
		}, timeout - 2*time.Second, 500},
		"a handler that has time enough": {func(context.Context) worker.Outcome {
			time.Sleep(timeout - time.Minute)
			return worker.Outcome{Acknowledge: true}
		}, timeout - time.Minute, 200},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newApp(worker.Outcome{})
				a.Timeout, a.MaxPause = timeout, 30*time.Second
				a.Functions["queue"] = functionsworker.Function{Deliver: func(ctx context.Context, _ worker.Delivery) worker.Outcome {
					return c.deliver(ctx)
				}}
				start := time.Now()
				status := a.invoke(t.Context(), t, "POST", "/queue", `{"Data":{"m":`+message+`}}`)
				if took := time.Since(start); status != c.status || took != c.want {
					t.Errorf("%d after %v, want %d after %v", status, took, c.status, c.want)
				}
				time.Sleep(2 * timeout) // until the last handler has ended
			})
		})
	}
}
