package httpapi_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
)

// fuzzed is the handler without a socket, over an empty store.
func fuzzed() (http.Handler, *tasktest.Queue) {
	queue := &tasktest.Queue{}
	return httpapi.New(httpapi.Config{
		Service: &task.Service{
			Store:    &tasktest.Store{},
			Backends: map[string]task.Backend{"default": {Dispatcher: queue, Target: "memory", DefaultQueue: "default"}},
			Tokens:   task.Tokens{Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}}, ResultTTL: time.Hour, MaxPayloadBytes: 1 << 20,
			Now: time.Now, NewID: task.NewID, Log: slog.New(slog.DiscardHandler),
		},
		Auth:      httpapi.Keys([]httpapi.APIKey{apiKey("alice", "enqueue", "read")}),
		PublicURL: "https://tasks.example.com", Log: slog.New(slog.DiscardHandler),
	}), queue
}

// ask sends a request as alice, and wants a problem with a code where the
// answer is no success, and never a failure of ours.
func ask(t *testing.T, h http.Handler, r *http.Request) (status int, body []byte) {
	t.Helper()
	r.Header.Set("Authorization", "Bearer "+keyOf("alice"))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code >= 400 {
		var p httpapi.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Code == "" || p.Detail == "" || w.Code >= 500 {
			t.Fatalf("%s %s: %d %s", r.Method, r.URL, w.Code, w.Body)
		}
	}
	return w.Code, w.Body.Bytes()
}

func post(path, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

// FuzzBatch: a batch is refused as a whole, or each of its tasks is answered:
// accepted, and then in the queue, or refused by a problem of the client's.
func FuzzBatch(f *testing.F) {
	for _, seed := range []string{
		`{"tasks":[{"task_name":"a"},{"task_name":"b","idempotency_key":"k"},{"task_name":"b","idempotency_key":"k"},{"task_name":1},null,[]]}`,
		`{"tasks":[]}`, `{"tasks":{}}`, `{"tasks":[{}],"x":1}`, `[]`, `{"tasks":[{"task_name":"a","args":[1.10]}]} x`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		h, queue := fuzzed()
		status, answer := ask(t, h, post("/v1/tasks/batch", body))
		if status != http.StatusOK {
			return
		}
		var sent struct{ Tasks []json.RawMessage }
		var got struct {
			Items []struct {
				Status  int
				Task    *struct{ ID string }
				Problem *httpapi.Problem
			}
		}
		// An item that is not JSON is its own problem, so the whole need not be JSON.
		readable := json.Unmarshal([]byte(body), &sent) == nil
		if json.Unmarshal(answer, &got) != nil || len(got.Items) == 0 || readable && len(got.Items) != len(sent.Tasks) {
			t.Fatalf("%q: %s", body, answer)
		}
		ids := map[string]bool{}
		for i, item := range got.Items {
			switch {
			case item.Status == http.StatusAccepted && item.Task != nil && item.Problem == nil:
				ids[item.Task.ID] = true
			case item.Status < 400 || item.Status >= 500 || item.Problem == nil || item.Problem.Code == "":
				t.Errorf("%q: item %d: %s", body, i, answer)
			case item.Problem.Code == task.InvalidTask:
				for _, e := range item.Problem.Errors {
					if !strings.HasPrefix(e.Pointer, "/tasks/") {
						t.Errorf("%q: item %d: pointer %q", body, i, e.Pointer)
					}
				}
			}
		}
		if held := queue.Held(); len(held) != len(ids) {
			t.Errorf("%q: %d accepted, %d messages", body, len(ids), len(held))
		}
	})
}

var traceparents = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$`)

// FuzzHeaders: an Idempotency-Key is refused, or makes the same request the same
// task; a trace context is passed on as it is, or not at all.
func FuzzHeaders(f *testing.F) {
	f.Add("key", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=b", "application/json")
	f.Add(`"quo\"ted"`, "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "", "application/json; charset=UTF-8")
	f.Add(`"open`, "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "\x00", "text/plain")
	f.Add(strings.Repeat("k", 255), "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", strings.Repeat("s", 513), "application/json;;")
	f.Fuzz(func(t *testing.T, key, traceparent, tracestate, media string) {
		h, queue := fuzzed()
		var first string
		for i := range 2 {
			r := post("/v1/tasks", `{"task_name":"t"}`)
			r.Header.Set("Content-Type", media)
			r.Header.Set("Idempotency-Key", key)
			r.Header.Set("Traceparent", traceparent)
			r.Header.Set("Tracestate", tracestate)
			status, body := ask(t, h, r)
			if status != http.StatusAccepted {
				if !slices.Contains([]int{http.StatusBadRequest, http.StatusUnsupportedMediaType}, status) || i > 0 {
					t.Errorf("%q, %q: %d %s", key, media, status, body)
				}
				return
			}
			var got struct{ ID string }
			if json.Unmarshal(body, &got) != nil || i > 0 && got.ID != first {
				t.Errorf("%q: repeated: %s, want %s", key, body, first)
			}
			first = got.ID
		}
		held := queue.Held()
		if len(held) != 1 {
			t.Fatalf("%q: %d messages", key, len(held))
		}
		m, err := task.ParseMessage(held[0].Body, nil)
		if err != nil || m.Traceparent != "" && (m.Traceparent != traceparent || !traceparents.MatchString(m.Traceparent)) || m.Tracestate != "" && m.Tracestate != tracestate {
			t.Errorf("%q, %q became %q, %q, %v", traceparent, tracestate, m.Traceparent, m.Tracestate, err)
		}
	})
}

// FuzzQuery: a listing's query is answered or refused, and so are the wait and
// the id of a task.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"limit=1&status=READY", "cursor=%00", "limit=1e2", "limit=NaN", "state=QUEUED&state=QUEUED", "wait=0", "%zz", "a;b", "task_name=%ff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		h, _ := fuzzed()
		for _, path := range []string{"/v1/tasks", "/v1/tasks/01936b5e-0000-7000-8000-000000000001"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.URL.RawQuery = query
			status, body := ask(t, h, r)
			if !slices.Contains([]int{http.StatusOK, http.StatusBadRequest, http.StatusNotFound}, status) {
				t.Errorf("%s?%q: %d %s", path, query, status, body)
			}
		}
	})
}
