package httpapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate"
	"github.com/taskgate/taskgate/core/apitest"
	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/settings"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/tasktest"
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

func apiKey(name string, scopes ...string) settings.APIKey {
	return settings.APIKey{Name: name, Scopes: scopes, SHA256: sha256.Sum256([]byte(keyOf(name)))}
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
		Auth: httpapi.Keys([]settings.APIKey{
			apiKey("alice", "enqueue", "read"), apiKey("bob", "enqueue", "read"),
			apiKey("writer", "enqueue"), apiKey("reader", "read"), apiKey("root", "admin"),
		}),
		PublicURL: "https://tasks.example.com",
		OpenAPI:   taskgate.OpenAPI(),
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
	var sent io.Reader // nil = no body
	if body != "" {
		sent = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, sent)
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+keyOf("alice"))
	if method == http.MethodPost && body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if req.Header.Set(headers[i], headers[i+1]); headers[i+1] == "" {
			req.Header.Del(headers[i])
		}
	}
	resp, err := a.client.Do(req)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return answer{resp, b}
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

func (a *api) token(id string) string { return a.tokens.Sign(id, time.Now().Add(time.Hour)) }

func TestATaskGoesThroughTheWire(t *testing.T) {
	a := newAPI(t)
	r := a.good(http.StatusAccepted, "POST", "/v1/tasks", `{"task_name":"add","args":[1,2]}`)
	var doc task.Document
	r.decode(t, &doc)
	if want := "https://tasks.example.com/v1/tasks/" + doc.ID; r.Header.Get("Location") != want {
		t.Errorf("Location %q, want %q", r.Header.Get("Location"), want)
	}
	events := "/v1/tasks/" + doc.ID + "/events"
	a.good(http.StatusOK, "POST", events, `{"type":"started","worker_id":"w","delivery_id":"d"}`, "Taskgate-Token", a.token(doc.ID))
	a.good(http.StatusOK, "POST", events, `{"type":"succeeded","attempt":1,"return_value":3}`, "Taskgate-Token", a.token(doc.ID))
	a.good(http.StatusOK, "GET", "/v1/tasks/"+doc.ID+"?wait=10", "").decode(t, &doc)
	if doc.Status != task.Successful || string(doc.ReturnValue) != "3" {
		t.Errorf("%s %s", doc.Status, doc.ReturnValue)
	}
	if held := a.queue.Held(); len(held) != 1 || apitest.Check("Message", held[0].Body) != nil {
		t.Errorf("the message: %v", apitest.Check("Message", held[0].Body))
	}
}

func TestBadInputNamesItsRuleAndLeavesNothing(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	a := newAPI(t)
	for name, c := range map[string]struct {
		method, path, body string
		headers            []string
		status             int
		code, pointer      string
	}{
		"not JSON":              {"POST", "/v1/tasks", `nope`, nil, 400, "invalid-json", ""},
		"empty":                 {"POST", "/v1/tasks", ``, []string{"Content-Type", "application/json"}, 400, "invalid-json", ""},
		"blank":                 {"POST", "/v1/tasks", ` `, nil, 400, "invalid-json", ""},
		"trailing data":         {"POST", "/v1/tasks", `{"task_name":"t"} {}`, nil, 400, "invalid-json", ""},
		"duplicate key":         {"POST", "/v1/tasks", `{"task_name":"t","task_name":"u"}`, nil, 400, "invalid-json", ""},
		"duplicate in args":     {"POST", "/v1/tasks", `{"task_name":"t","args":[{"a":1,"a":2}]}`, nil, 400, "invalid-json", ""},
		"NaN":                   {"POST", "/v1/tasks", `{"task_name":"t","args":[NaN]}`, nil, 400, "invalid-json", ""},
		"bad UTF-8":             {"POST", "/v1/tasks", "{\"task_name\":\"\xff\"}", nil, 400, "invalid-json", ""},
		"lone surrogate":        {"POST", "/v1/tasks", `{"task_name":"\ud800"}`, nil, 400, "invalid-json", ""},
		"cut short":             {"POST", "/v1/tasks", `{"task_name":"t"`, nil, 400, "invalid-json", ""},
		"depth 65":              {"POST", "/v1/tasks", `{"task_name":"t","args":` + deep(64) + `}`, nil, 400, "invalid-json", ""},
		"not an object":         {"POST", "/v1/tasks", `[]`, nil, 422, "invalid-task", ""},
		"unknown field":         {"POST", "/v1/tasks", `{"task_name":"t","taskname":"t"}`, nil, 422, "invalid-task", "/taskname"},
		"case-folded":           {"POST", "/v1/tasks", `{"task_name":"t","Args":[]}`, nil, 422, "invalid-task", "/Args"},
		"wrong type":            {"POST", "/v1/tasks", `{"task_name":"t","args":{}}`, nil, 422, "invalid-task", "/args"},
		"unknown backend":       {"POST", "/v1/tasks", `{"task_name":"t","backend":"nope"}`, nil, 422, "unknown-backend", "/backend"},
		"queue outside QUEUES":  {"POST", "/v1/tasks", `{"task_name":"t","backend":"strict","queue_name":"nope"}`, nil, 422, "unknown-queue", "/queue_name"},
		"priority 101":          {"POST", "/v1/tasks", `{"task_name":"t","priority":101}`, nil, 422, "priority-unsupported", "/priority"},
		"run_after, no offset":  {"POST", "/v1/tasks", `{"task_name":"t","run_after":"2030-01-01T00:00:00"}`, nil, 422, "invalid-task", "/run_after"},
		"run_after and delay":   {"POST", "/v1/tasks", `{"task_name":"t","run_after":"2030-01-01T00:00:00Z","delay_seconds":1}`, nil, 422, "invalid-task", "/delay_seconds"},
		"2 MiB body":            {"POST", "/v1/tasks", `{"task_name":"t","args":["` + strings.Repeat("x", 2<<20) + `"]}`, nil, 413, "body-too-large", ""},
		"payload":               {"POST", "/v1/tasks", `{"task_name":"t","args":["` + strings.Repeat("x", 910_000) + `"]}`, nil, 413, "payload-too-large", ""},
		"101 in a batch":        {"POST", "/v1/tasks/batch", `{"tasks":[` + strings.Repeat(`{"task_name":"t"},`, 100) + `{"task_name":"t"}]}`, nil, 422, "invalid-batch", "/tasks"},
		"empty batch":           {"POST", "/v1/tasks/batch", `{"tasks":[]}`, nil, 422, "invalid-batch", "/tasks"},
		"no batch":              {"POST", "/v1/tasks/batch", `{}`, nil, 422, "invalid-batch", "/tasks"},
		"5 MiB batch":           {"POST", "/v1/tasks/batch", `{"tasks":["` + strings.Repeat("x", 5<<20) + `"]}`, nil, 413, "body-too-large", ""},
		"batch with a key":      {"POST", "/v1/tasks/batch", `{"tasks":[{"task_name":"t"}]}`, []string{"Idempotency-Key", "k"}, 400, "invalid-header", ""},
		"form media type":       {"POST", "/v1/tasks", `{"task_name":"t"}`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported-media-type", ""},
		"no media type":         {"POST", "/v1/tasks", `{"task_name":"t"}`, []string{"Content-Type", ""}, 415, "unsupported-media-type", ""},
		"Latin-1":               {"POST", "/v1/tasks", `{"task_name":"t"}`, []string{"Content-Type", "application/json; charset=latin1"}, 415, "unsupported-media-type", ""},
		"gzip":                  {"POST", "/v1/tasks", `{"task_name":"t"}`, []string{"Content-Encoding", "gzip"}, 415, "unsupported-media-type", ""},
		"long key":              {"POST", "/v1/tasks", `{"task_name":"t"}`, []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, "invalid-header", ""},
		"unclosed key":          {"POST", "/v1/tasks", `{"task_name":"t"}`, []string{"Idempotency-Key", `"k`}, 400, "invalid-header", ""},
		"query on POST":         {"GET", "/v1/capabilities?x=1", ``, nil, 400, "invalid-query", ""},
		"bad cursor":            {"GET", "/v1/tasks?cursor=xxx", ``, nil, 400, "invalid-cursor", ""},
		"bad limit":             {"GET", "/v1/tasks?limit=101", ``, nil, 400, "invalid-query", ""},
		"fractional limit":      {"GET", "/v1/tasks?limit=1.5", ``, nil, 400, "invalid-query", ""},
		"bad status":            {"GET", "/v1/tasks?status=ready", ``, nil, 400, "invalid-query", ""},
		"bad state":             {"GET", "/v1/tasks?state=LOST", ``, nil, 400, "invalid-query", ""},
		"unknown parameter":     {"GET", "/v1/tasks?page=2", ``, nil, 400, "invalid-query", ""},
		"twice":                 {"GET", "/v1/tasks?limit=1&limit=2", ``, nil, 400, "invalid-query", ""},
		"bad escape":            {"GET", "/v1/tasks?limit=%zz", ``, nil, 400, "invalid-query", ""},
		"wait too long":         {"GET", "/v1/tasks/01936b5e-0000-7000-8000-000000000001?wait=21", ``, nil, 400, "invalid-query", ""},
		"wait NaN":              {"GET", "/v1/tasks/01936b5e-0000-7000-8000-000000000001?wait=NaN", ``, nil, 400, "invalid-query", ""},
		"malformed id":          {"GET", "/v1/tasks/nope", ``, nil, 404, "unknown-task", ""},
		"upper-case id":         {"GET", "/v1/tasks/01936B5E-0000-7000-8000-000000000001", ``, nil, 404, "unknown-task", ""},
		"unknown path":          {"GET", "/v2/tasks", ``, nil, 404, "unknown-route", ""},
		"double slash":          {"GET", "//v1/tasks", ``, nil, 404, "unknown-route", ""},
		"trailing slash":        {"GET", "/v1/tasks/", ``, nil, 404, "unknown-route", ""},
		"dots":                  {"GET", "/v1/x/../tasks", ``, nil, 404, "unknown-route", ""},
		"wrong method":          {"DELETE", "/v1/tasks", ``, nil, 405, "method-not-allowed", ""},
		"no key":                {"POST", "/v1/tasks", `{"task_name":"t"}`, []string{"Authorization", ""}, 401, "unauthenticated", ""},
		"wrong key":             {"POST", "/v1/tasks", `{"task_name":"t"}`, []string{"Authorization", "Bearer nope"}, 401, "unauthenticated", ""},
		"wrong scheme":          {"POST", "/v1/tasks", `{"task_name":"t"}`, []string{"Authorization", "Basic " + keyOf("alice")}, 401, "unauthenticated", ""},
		"wrong scope":           {"POST", "/v1/tasks", `{"task_name":"t"}`, []string{"Authorization", "Bearer " + keyOf("reader")}, 403, "forbidden", ""},
		"reading without scope": {"GET", "/v1/tasks", ``, []string{"Authorization", "Bearer " + keyOf("writer")}, 403, "forbidden", ""},
		"event, no token":       {"POST", "/v1/tasks/01936b5e-0000-7000-8000-000000000001/events", `nope`, nil, 401, "unauthenticated", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := *a
			a.t = t
			r, p := a.bad(c.method, c.path, c.body, c.headers...)
			if r.StatusCode != c.status || string(p.Code) != c.code {
				t.Fatalf("%d %s, want %d %s", r.StatusCode, r.body, c.status, c.code)
			}
			if pointer := ""; c.pointer != "" {
				if len(p.Errors) == 1 {
					pointer = p.Errors[0].Pointer
				}
				if pointer != c.pointer {
					t.Errorf("names %v, want %s", p.Errors, c.pointer)
				}
			}
		})
	}
	if n := a.store.Calls(tasktest.Create) + a.queue.Calls(tasktest.Dispatch); n != 0 {
		t.Errorf("%d tasks were recorded or sent", n)
	}
}

func TestBadEventsAreRefusedInTheOrderOfTheContract(t *testing.T) {
	a := newAPI(t)
	id := a.enqueue(`{"task_name":"t"}`).ID
	events, token := "/v1/tasks/"+id+"/events", a.token(id)
	forged := task.Tokens{Secrets: [][]byte{[]byte("another-secret-another-secret-00")}}.Sign(id, time.Now().Add(time.Hour))
	a.good(http.StatusOK, "POST", events, `{"type":"started","worker_id":"w","delivery_id":"d"}`, "Taskgate-Token", token)
	unknown := "01936b5e-0000-7000-8000-000000000001"
	for name, c := range map[string]struct {
		path, body, token string
		status            int
		code              string
		acknowledge       bool
	}{
		"forged token":    {events, `{"type":"heartbeat","attempt":1}`, forged, 401, "unauthenticated", false},
		"unknown task":    {"/v1/tasks/" + unknown + "/events", `{"type":"heartbeat","attempt":1}`, a.token(unknown), 404, "unknown-task", false},
		"another attempt": {events, `{"type":"heartbeat","attempt":2}`, token, 409, "stale-attempt", false},
		"lease held":      {events, `{"type":"started","worker_id":"w","delivery_id":"e"}`, token, 409, "lease-held", false},
		"unknown type":    {events, `{"type":"nope"}`, token, 422, "invalid-event", false},
		"not JSON":        {events, `nope`, token, 400, "invalid-json", false},
	} {
		t.Run(name, func(t *testing.T) {
			a := *a
			a.t = t
			r, p := a.bad("POST", c.path, c.body, "Taskgate-Token", c.token)
			if r.StatusCode != c.status || string(p.Code) != c.code || p.Acknowledge == nil || *p.Acknowledge != c.acknowledge {
				t.Errorf("%d %s", r.StatusCode, r.body)
			}
			if c.code == "lease-held" && r.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		})
	}
	a.good(http.StatusOK, "POST", events, `{"type":"succeeded","attempt":1}`, "Taskgate-Token", token)
	r, p := a.bad("POST", events, `{"type":"started","worker_id":"w","delivery_id":"e"}`, "Taskgate-Token", token)
	if r.StatusCode != http.StatusGone || p.Acknowledge == nil || !*p.Acknowledge {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

func TestADocumentThatHasNotChangedIsNotSentAgain(t *testing.T) {
	a := newAPI(t)
	path := "/v1/tasks/" + a.enqueue(`{"task_name":"t"}`).ID
	first := a.good(http.StatusOK, "GET", path, "")
	etag := first.Header.Get("ETag")
	if first.Header.Get("Retry-After") == "" {
		t.Error("an unfinished task without Retry-After")
	}
	for _, match := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
		if r := a.good(http.StatusNotModified, "GET", path, "", "If-None-Match", match); len(r.body) != 0 {
			t.Errorf("304 with a body: %s", r.body)
		}
	}
	a.good(http.StatusOK, "GET", path, "", "If-None-Match", `"x"`)
	if r := a.good(http.StatusOK, "HEAD", path, ""); len(r.body) != 0 || r.Header.Get("ETag") != etag {
		t.Errorf("HEAD: %q, %v", r.body, r.Header)
	}
}

func TestKeysAreTheSameQuotedAndBare(t *testing.T) {
	a := newAPI(t)
	id := a.enqueue(`{"task_name":"t"}`, "Idempotency-Key", `a"\b`).ID
	r := a.good(http.StatusAccepted, "POST", "/v1/tasks", `{"task_name":"t"}`, "Idempotency-Key", `"a\"\\b"`)
	var doc task.Document
	r.decode(t, &doc)
	if doc.ID != id || r.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("%s, replayed %q; want %s", doc.ID, r.Header.Get("Idempotent-Replayed"), id)
	}
	_, p := a.bad("POST", "/v1/tasks", `{"task_name":"other"}`, "Idempotency-Key", `a"\b`)
	if p.Code != task.IdempotencyKeyReused {
		t.Errorf("%+v", p)
	}
}

func TestABatchAnswersEachTask(t *testing.T) {
	a := newAPI(t)
	var out struct {
		Items []struct {
			Status             int              `json:"status"`
			Task               *task.Document   `json:"task"`
			Problem            *httpapi.Problem `json:"problem"`
			IdempotentReplayed bool             `json:"idempotent_replayed"`
		} `json:"items"`
	}
	body := `{"tasks":[{"task_name":"a","idempotency_key":"k"},{"task_name":"b","priority":1},{"nope":1},{"task_name":"d"}]}`
	a.send(apitest.Bad(t.Context()), "POST", "/v1/tasks/batch", body).decode(t, &out)
	if out.Items[0].Status != 202 || out.Items[3].Task.TaskName != "d" {
		t.Errorf("%+v", out)
	}
	if p := out.Items[1].Problem; p.Code != task.PriorityUnsupported || p.Errors[0].Pointer != "/tasks/1/priority" {
		t.Errorf("%+v", p)
	}
	if p := out.Items[2].Problem; p.Code != task.InvalidTask || p.Errors[0].Pointer != "/tasks/2/nope" {
		t.Errorf("%+v", p)
	}
	a.good(http.StatusOK, "POST", "/v1/tasks/batch", `{"tasks":[{"task_name":"a","idempotency_key":"k"}]}`).decode(t, &out)
	if !out.Items[0].IdempotentReplayed {
		t.Errorf("%+v", out.Items[0])
	}
}

func TestTheTraceGoesIntoTheMessageAndTheLog(t *testing.T) {
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

func TestAPanicIsAnsweredAsUnknown(t *testing.T) {
	a := newAPI(t, func(c *httpapi.Config) { c.Service.Store = panics{} })
	r, p := a.bad("POST", "/v1/tasks", `{"task_name":"t"}`)
	if r.StatusCode != http.StatusServiceUnavailable || p.Code != task.Internal || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if !strings.Contains(a.log.String(), "panic") {
		t.Errorf("log: %s", a.log)
	}
}

func TestOnlyTheGatewaysOwnWordIsTrusted(t *testing.T) {
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
