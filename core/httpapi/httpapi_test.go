package httpapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
	"github.com/taskgate/taskgate/tests/apitest"
	"github.com/taskgate/taskgate/tests/blackbox"
)

// api is the handler on a loopback socket, over the store and queue in memory.
type api struct {
	t      *testing.T
	url    string
	client *http.Client
	store  *tasktest.Store
	queue  *tasktest.Queue
	tokens task.Tokens
	log    *lockedBuffer
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// keyOf is the API key of a name in these tests.
func keyOf(name string) string { return "key-of-" + name }

func apiKey(name string, scopes ...string) httpapi.APIKey {
	return httpapi.APIKey{Name: name, Scopes: scopes, SHA256: sha256.Sum256([]byte(keyOf(name)))}
}

func newAPI(t *testing.T, change ...func(*httpapi.Config)) *api {
	t.Helper()
	a := &api{t: t, store: &tasktest.Store{}, queue: &tasktest.Queue{}, log: &lockedBuffer{}}
	a.tokens = task.Tokens{Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}}
	config := httpapi.Config{
		Service: &task.Service{
			Store: a.store,
			Backends: map[string]task.Backend{
				"default": {Dispatcher: a.queue, Target: "memory", DefaultQueue: "default"},
				"strict":  {Dispatcher: a.queue, Target: "memory", DefaultQueue: "default", Queues: []string{"emails"}},
			},
			Tokens: a.tokens, ResultTTL: time.Hour, MaxWait: 20 * time.Second, MaxPayloadBytes: 900_000,
			Now: time.Now, NewID: task.NewID, Log: slog.New(slog.NewJSONHandler(a.log, nil)),
		},
		Auth: httpapi.Keys([]httpapi.APIKey{
			apiKey("alice", "enqueue", "read"), apiKey("bob", "enqueue", "read"),
			apiKey("writer", "enqueue"), apiKey("reader", "read"), apiKey("root", "admin"),
		}),
		PublicURL: "https://tasks.example.com",
		Log:       slog.New(slog.NewJSONHandler(a.log, nil)),
	}
	for _, f := range change {
		f(&config)
	}
	server := httptest.NewServer(httpapi.New(config))
	t.Cleanup(server.Close)
	a.url = server.URL
	a.client = &http.Client{
		Transport:     apitest.Transport{},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return a
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body []byte
}

func (r answer) decode(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("%s: %v", r.body, err)
	}
}

func (r answer) problem(t *testing.T) httpapi.Problem {
	t.Helper()
	var p httpapi.Problem
	r.decode(t, &p)
	return p
}

// send sends a request as alice; headers come in pairs and replace hers.
func (a *api) send(ctx context.Context, method, path, body string, headers ...string) answer {
	a.t.Helper()
	r, err := apitest.Client{URL: a.url, Key: keyOf("alice"), HTTP: a.client}.Do(ctx, method, path, body, headers...)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{r.Response, r.Body}
}

// good sends a request that keeps the contract and must be answered with status.
func (a *api) good(status int, method, path, body string, headers ...string) answer {
	a.t.Helper()
	r := a.send(a.t.Context(), method, path, body, headers...)
	if r.StatusCode != status {
		a.t.Fatalf("%s %s: %d %s, want %d", method, path, r.StatusCode, r.body, status)
	}
	return r
}

// bad sends a request that breaks the contract, and returns its problem.
func (a *api) bad(method, path, body string, headers ...string) (answer, httpapi.Problem) {
	a.t.Helper()
	r := a.send(apitest.Bad(a.t.Context()), method, path, body, headers...)
	return r, r.problem(a.t)
}

func (a *api) enqueue(body string, headers ...string) task.Document {
	a.t.Helper()
	var doc task.Document
	a.good(http.StatusAccepted, "POST", "/v1/tasks", body, headers...).decode(a.t, &doc)
	return doc
}

// TestTheContract runs the suite that every platform passes.
func TestTheContract(t *testing.T) {
	a := newAPI(t)
	inbox := blackbox.NewInbox()
	ctx, stop := context.WithCancel(context.Background())
	delivering := make(chan struct{})
	go func() {
		defer close(delivering)
		for {
			m, err := a.queue.Receive(ctx)
			if err != nil {
				return
			}
			inbox.Put(m.Body, m.Attributes)
		}
	}()
	t.Cleanup(func() { stop(); <-delivering })
	blackbox.Run(t, blackbox.Target{
		BaseURL: a.url, Key: keyOf("alice"), OtherKey: keyOf("bob"), Queue: "another", Receive: inbox.Receive,
	})
}

func TestScopesAreEnforced(t *testing.T) {
	a := newAPI(t)
	const enqueue = `{"task_name":"t"}`
	for name, c := range map[string]struct {
		method, path, body, authorization string
		code                              task.Kind
	}{
		"no key":                {"POST", "/v1/tasks", enqueue, "", task.Unauthenticated},
		"wrong key":             {"POST", "/v1/tasks", enqueue, "Bearer nope", task.Unauthenticated},
		"wrong scheme":          {"POST", "/v1/tasks", enqueue, "Basic " + keyOf("alice"), task.Unauthenticated},
		"enqueue without scope": {"POST", "/v1/tasks", enqueue, "Bearer " + keyOf("reader"), httpapi.Forbidden},
		"batch without scope":   {"POST", "/v1/tasks/batch", `{"tasks":[` + enqueue + `]}`, "Bearer " + keyOf("reader"), httpapi.Forbidden},
		"read without scope":    {"GET", "/v1/tasks", ``, "Bearer " + keyOf("writer"), httpapi.Forbidden},
		"unread body":           {"POST", "/v1/tasks", `nope`, "", task.Unauthenticated},
		"lower-case scheme":     {"POST", "/v1/tasks", enqueue, "bearer " + keyOf("alice"), ""},
		"admin does it all":     {"POST", "/v1/tasks", enqueue, "Bearer " + keyOf("root"), ""},
	} {
		r := a.send(apitest.Bad(t.Context()), c.method, c.path, c.body, "Authorization", c.authorization)
		var p httpapi.Problem
		if r.StatusCode >= 400 {
			p = r.problem(t)
		}
		if p.Code != c.code {
			t.Errorf("%s: %d %s, want %q", name, r.StatusCode, r.body, c.code)
		}
	}
	if n := a.store.Calls(tasktest.Create); n != 2 {
		t.Errorf("%d tasks were recorded, want 2", n)
	}
}

func TestQuotedAndBareKeysAreEqual(t *testing.T) {
	a := newAPI(t)
	id := a.enqueue(`{"task_name":"t"}`, "Idempotency-Key", `a"\b`).ID
	r := a.good(http.StatusAccepted, "POST", "/v1/tasks", `{"task_name":"t"}`, "Idempotency-Key", `"a\"\\b"`)
	var doc task.Document
	r.decode(t, &doc)
	if doc.ID != id || r.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%s, replayed %q; want %s", doc.ID, r.Header.Get("Idempotent-Replayed"), id)
	}
	for _, bad := range []string{`"a`, "é", `"a"b"`, `"a\b"`, `""`, strings.Repeat("k", 256)} {
		if _, p := a.bad("POST", "/v1/tasks", `{"task_name":"t"}`, "Idempotency-Key", bad); p.Code != httpapi.InvalidHeader {
			t.Errorf("%q: %+v", bad, p)
		}
	}
}

func TestTraceIsInTheMessageAndTheLog(t *testing.T) {
	a := newAPI(t)
	const id = "0af7651916cd43dd8448eb211c80319c"
	a.enqueue(`{"task_name":"t","args":["secret"]}`, "Traceparent", "00-"+id+"-b7ad6b7169203331-01", "Tracestate", "v=1")
	m, err := task.ParseMessage(a.queue.Held()[0].Body, nil)
	if err != nil || !strings.Contains(m.Traceparent, id) || m.Tracestate != "v=1" {
		t.Errorf("%+v, %v", m, err)
	}
	a.enqueue(`{"task_name":"t"}`, "Traceparent", "00-"+strings.Repeat("0", 32)+"-b7ad6b7169203331-01")
	if m, _ = task.ParseMessage(a.queue.Held()[1].Body, nil); m.Traceparent != "" {
		t.Errorf("a trace context that is not valid: %q", m.Traceparent)
	}
	log := a.log.String()
	if !strings.Contains(log, id) || !strings.Contains(log, `"caller":"alice"`) || strings.Count(log, "\n") != 2 {
		t.Errorf("log: %s", log)
	}
	if sum := sha256.Sum256([]byte(keyOf("alice"))); strings.Contains(log, "secret") ||
		strings.Contains(log, keyOf("alice")) || strings.Contains(log, hex.EncodeToString(sum[:])) {
		t.Errorf("a payload or a secret is in the log: %s", log)
	}
}

// panics is a store that panics.
type panics struct{ task.Store }

func TestPanicIsAnsweredAsUnknownOutcome(t *testing.T) {
	a := newAPI(t, func(c *httpapi.Config) { c.Service.Store = panics{} })
	r, p := a.bad("POST", "/v1/tasks", `{"task_name":"t"}`)
	if r.StatusCode != http.StatusServiceUnavailable || p.Code != task.Internal || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if !strings.Contains(a.log.String(), "panic") {
		t.Errorf("log: %s", a.log)
	}
}

func TestForwardedHeadersAreIgnored(t *testing.T) {
	a := newAPI(t, func(c *httpapi.Config) { c.Auth, c.PublicURL = httpapi.FromPlatform, "" })
	_, p := a.bad("POST", "/v1/tasks", `{"task_name":"t"}`, "X-Forwarded-Host", "evil.example", "X-Ms-Client-Principal-Name", "mallory")
	if p.Code != task.Unauthenticated {
		t.Errorf("%+v", p)
	}
	gateway := httpapi.Gateway{BaseURL: "https://abc.example", Caller: "arn:aws:iam::1:user/u"}
	handler := httpapi.New(httpapi.Config{
		Service: &task.Service{
			Store: a.store, Backends: map[string]task.Backend{"default": {Dispatcher: a.queue, DefaultQueue: "q"}},
			Tokens: a.tokens, ResultTTL: time.Hour, MaxPayloadBytes: 1000, Now: time.Now, NewID: task.NewID, Log: slog.New(slog.DiscardHandler),
		},
		Auth: httpapi.FromPlatform, Log: slog.New(slog.DiscardHandler),
	})
	req := httptest.NewRequestWithContext(httpapi.WithGateway(t.Context(), gateway), "POST", "/v1/tasks", strings.NewReader(`{"task_name":"t"}`))
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, req)
	if location := w.Header().Get("Location"); w.Code != http.StatusAccepted || !strings.HasPrefix(location, "https://abc.example/v1/tasks/") {
		t.Errorf("%d %s, Location %q", w.Code, w.Body, location)
	}
	if m, _ := task.ParseMessage(a.queue.Held()[0].Body, nil); !strings.HasPrefix(m.EventsURL, "https://abc.example/v1/tasks/") {
		t.Errorf("events_url %q", m.EventsURL)
	}
}

// TestRepeatedSecurityHeadersAreRefused: two might be read in two ways.
func TestRepeatedSecurityHeadersAreRefused(t *testing.T) {
	var handler http.Handler
	newAPI(t, func(c *httpapi.Config) { handler = httpapi.New(*c) })
	for name, c := range map[string]struct {
		second string
		status int
	}{
		"Content-Type":     {"text/plain", http.StatusUnsupportedMediaType},
		"Content-Encoding": {"gzip", http.StatusUnsupportedMediaType},
		"Authorization":    {"Bearer " + keyOf("alice"), http.StatusUnauthorized},
	} {
		req := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/tasks", strings.NewReader(`{"task_name":"t"}`))
		req.Header = http.Header{
			"Content-Type": {"application/json"}, "Content-Encoding": {"identity"}, "Authorization": {"Bearer " + keyOf("alice")},
		}
		req.Header.Add(name, c.second)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		if w.Code != c.status {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// TestReportTakesEffectWhenItsWorkerDisconnects: a worker that dies while its report is being
// written has reported. Its task must not be worked for again.
func TestReportTakesEffectWhenItsWorkerDisconnects(t *testing.T) {
	var handler http.Handler
	a := newAPI(t, func(c *httpapi.Config) { handler = httpapi.New(*c) })
	id := a.enqueue(`{"task_name":"t"}`).ID
	token := a.tokens.Sign(id, task.Time{}, time.Now().Add(time.Hour))
	report := func(ctx context.Context, event string) *httptest.ResponseRecorder {
		req := httptest.NewRequestWithContext(ctx, "POST", "/v1/tasks/"+id+"/events", strings.NewReader(event))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Taskgate-Token", token)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		return w
	}
	if w := report(t.Context(), `{"type":"started","worker_id":"w","delivery_id":"d"}`); w.Code != http.StatusOK {
		t.Fatalf("started: %d %s", w.Code, w.Body)
	}
	reached, release := a.store.HoldBefore(tasktest.Replace)
	ctx, die := context.WithCancel(t.Context())
	done := make(chan *httptest.ResponseRecorder)
	go func() { done <- report(ctx, `{"type":"succeeded","attempt":1,"return_value":3}`) }()
	<-reached
	die()
	release()
	if w := <-done; w.Code != http.StatusOK {
		t.Errorf("succeeded: %d %s", w.Code, w.Body)
	}
	var doc task.Document
	a.good(http.StatusOK, "GET", "/v1/tasks/"+id, "").decode(t, &doc)
	if doc.State != task.StateSucceeded {
		t.Errorf("the task is %s", doc.State)
	}
}
