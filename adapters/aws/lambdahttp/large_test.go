package lambdahttp_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/adapters/aws/lambdahttp"
	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
	"github.com/taskgate/taskgate/tests/emulators/eventsource"
)

// service is the whole API behind a gateway, over the store in memory.
type service struct {
	*task.Service
	t       *testing.T
	gateway eventsource.Gateway
}

func newService(t *testing.T) *service {
	if testing.Short() {
		t.Skip("megabytes of JSON, back and forth, are slow under the race detector")
	}
	s := &service{t: t, Service: &task.Service{
		Store:    &tasktest.Store{},
		Backends: map[string]task.Backend{"default": {Dispatcher: &tasktest.Queue{}, Target: "memory", DefaultQueue: "default"}},
		Tokens:   task.Tokens{Secrets: [][]byte{[]byte(strings.Repeat("s", 32))}}, ResultTTL: time.Hour, MaxPayloadBytes: 1 << 20,
		Now: time.Now, NewID: task.NewID, Log: discard,
	}}
	everybody := func(*http.Request) (httpapi.Caller, error) {
		return httpapi.Caller{Name: "alice", Scopes: []string{httpapi.ScopeEnqueue, httpapi.ScopeRead}}, nil
	}
	api := httpapi.New(httpapi.Config{Service: s.Service, Auth: everybody, PublicURL: "https://tasks.example", Log: slog.New(slog.DiscardHandler)})
	s.gateway.Invoke = invoke(&lambdahttp.Handler{HTTP: api, Log: discard})
	return s
}

// call sends a request through the gateway, and reads the answer into v.
func (s *service) call(status int, method, target, body string, v any) {
	s.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	resp, err := s.gateway.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		s.t.Fatalf("%s %s: %d %.300s, %v, want %d", method, target, resp.StatusCode, text, err, status)
	}
	if err := json.Unmarshal(text, v); err != nil {
		s.t.Fatal(err)
	}
}

// batch answers with each item's status and problem.
func (s *service) batch(tasks ...string) (items []struct {
	Status  int
	Task    struct{ ID string }
	Problem httpapi.Problem
}) {
	s.t.Helper()
	var answer = struct{ Items any }{&items}
	s.call(http.StatusOK, "POST", "/v1/tasks/batch", `{"tasks":[`+strings.Join(tasks, ",")+`]}`, &answer)
	if len(items) != len(tasks) {
		s.t.Fatalf("%d items of %d tasks", len(items), len(tasks))
	}
	return items
}

// quotes is JSON of about n bytes that is two thirds larger inside a string.
func quotes(n int) string { return "[" + strings.Repeat(`"",`, n/3) + `""]` }

func TestAListingThatLambdaCouldNotCarryComesInShortPages(t *testing.T) {
	s := newService(t)
	var want, got []string
	for range 6 {
		var doc struct{ ID string }
		s.call(http.StatusAccepted, "POST", "/v1/tasks", `{"task_name":"t","args":`+quotes(900_000)+`}`, &doc)
		want = append([]string{doc.ID}, want...)
	}
	for cursor := ""; ; {
		var page struct {
			Items      []struct{ ID string }
			NextCursor string `json:"next_cursor"`
		}
		s.call(http.StatusOK, "GET", "/v1/tasks?limit=100"+cursor, "", &page)
		for _, doc := range page.Items {
			got = append(got, doc.ID)
		}
		if page.NextCursor == "" {
			break
		}
		cursor = "&cursor=" + page.NextCursor
	}
	if !slices.Equal(got, want) {
		t.Errorf("walked %v, want %v", got, want)
	}
}

// TestTheLargestBatchIsAnswered: this one's event is just below Lambda's limit,
// and as text its answer would be above.
func TestTheLargestBatchIsAnswered(t *testing.T) {
	s := newService(t)
	one := `{"task_name":"t","args":[` + strings.Repeat(`"x",`, 10_450) + `""]}`
	for i, item := range s.batch(slices.Repeat([]string{one}, 100)...) {
		if item.Status != http.StatusAccepted {
			t.Errorf("item %d: %+v", i, item)
		}
	}
}

// TestAnAcceptedTaskIsNotHiddenByItsNeighbours: the answers to these batches
// would be 8 and 30 MB.
func TestAnAcceptedTaskIsNotHiddenByItsNeighbours(t *testing.T) {
	s := newService(t)
	var tasks []string
	for i := range 8 {
		tasks = append(tasks, fmt.Sprintf(`{"task_name":"t","idempotency_key":"k%d"}`, i))
	}
	for _, item := range s.batch(tasks...) {
		reporter, err := s.Reporter(item.Task.ID, s.Tokens.Sign(item.Task.ID, task.Time{}, time.Now().Add(time.Hour)))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range []task.Event{
			{Type: task.EventStarted, WorkerID: "w", DeliveryID: "d"},
			{Type: task.EventSucceeded, Attempt: 1, ReturnValue: jsontext.Value(quotes(1_000_000))},
		} {
			if _, err := reporter.Report(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
	}
	replayed := 0
	for i, item := range s.batch(append(tasks, `{"task_name":"new"}`)...) {
		switch p := item.Problem; {
		case item.Status == http.StatusAccepted:
			replayed++
		case i == len(tasks) || p.Code != task.Unavailable || p.TaskID == "":
			t.Errorf("item %d: %d %+v", i, item.Status, p)
		}
	}
	if replayed < 4 {
		t.Errorf("%d were accepted", replayed)
	}

	items := s.batch(`{"task_name":"new"}`, mistakes(4_000_000))
	if p := items[1].Problem; items[0].Status != http.StatusAccepted || p.Code != task.InvalidTask || len(p.Errors) < 20 {
		t.Errorf("beside mistakes: %+v", items)
	}
}

func TestABodyOfMistakesAloneIsAnswered(t *testing.T) {
	s := newService(t)
	var p httpapi.Problem
	s.call(http.StatusUnprocessableEntity, "POST", "/v1/tasks", mistakes(1_000_000), &p)
	if last := p.Errors[len(p.Errors)-1]; p.Code != task.InvalidTask || len(p.Errors) < 500 || !strings.Contains(last.Detail, "more") {
		t.Errorf("%d errors, the last is %+v", len(p.Errors), last)
	}
	name := strings.Repeat("\x7f", 500_000)
	s.call(http.StatusBadRequest, "POST", "/v1/tasks", fmt.Sprintf("{\"%s\":0,\"%s\":0}", name, name), &p)
	if p.Code != httpapi.InvalidJSON || len(p.Detail) > 4000 {
		t.Errorf("%s with a detail of %d bytes", p.Code, len(p.Detail))
	}
}

// mistakes is an object of about n bytes, of short names that no task has.
func mistakes(n int) string {
	b := []byte("{")
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, `"%x":0,`, i)
	}
	return string(b) + `"":0}`
}
