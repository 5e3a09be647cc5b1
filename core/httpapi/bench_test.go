package httpapi_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
)

// nowhere is a store and a queue that keep nothing, so that a benchmark measures
// the handler alone.
type nowhere struct{ task.Store }

func (nowhere) Create(context.Context, *task.Record) (*task.Record, error) { return nil, nil }
func (nowhere) Limits(context.Context, string, time.Duration) task.Limits {
	return task.Limits{Route: "nowhere", SupportsDefer: true}
}
func (nowhere) Dispatch(context.Context, task.Outgoing) (r task.Receipt, _ error) { return r, nil }
func (nowhere) Cancel(context.Context, task.Sent) error                           { return nil }

// BenchmarkEnqueue is one enqueue through the handler, a task of 300 bytes.
func BenchmarkEnqueue(b *testing.B) {
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	handler := httpapi.New(httpapi.Config{
		Service: &task.Service{
			Store:    nowhere{},
			Backends: map[string]task.Backend{"default": {Dispatcher: nowhere{}, Target: "nowhere", DefaultQueue: "default"}},
			Tokens:   task.Tokens{Secrets: [][]byte{make([]byte, 32)}}, ResultTTL: time.Hour, MaxPayloadBytes: 1 << 20,
			Now: time.Now, NewID: task.NewID, Log: log,
		},
		Auth: httpapi.AllowAll, PublicURL: "http://127.0.0.1", Log: log,
	})
	const body = `{"task_name":"send_email","args":["someone@example.com","Your order has been shipped"],` +
		`"kwargs":{"order":12345678,"template":"shipped","locale":"en-GB","retries":3,"links":["https://example.com/o/12345678"]},` +
		`"metadata":{"tenant":"acme"},"delay_seconds":3600}`
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", "/v1/tasks", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		if handler.ServeHTTP(w, r); w.Code != http.StatusAccepted {
			b.Fatal(w.Body)
		}
	}
}
