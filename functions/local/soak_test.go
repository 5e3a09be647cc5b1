package main_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/worker"
	"github.com/taskgate/taskgate/functions/demo"
)

// kills is how often the process is killed under load: a few times in every
// run of the tests, and many times in make soak.
func kills() int {
	if os.Getenv("TASKGATE_SOAK") != "" {
		return 50
	}
	return 5
}

// TestSoakKillsUnderLoad lets 32 clients enqueue while the process is killed
// again and again. Whatever was answered 202 must be there, exactly once, and
// end SUCCESSFUL; what was not answered must be whole or not there at all.
func TestSoakKillsUnderLoad(t *testing.T) {
	const clients = 32
	dir, addr := t.TempDir(), "TASKGATE_ADDR=127.0.0.1:"+freePort(t)
	sums := newSummer(t)
	environ := []string{addr, "TASKGATE_WORKER_URL=" + sums.url}
	p := start(t, dir, environ...)
	sums.serve(p.url)

	load := &load{client: p.client, url: p.url, accepted: map[string]string{}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() { load.run(ctx, t) })
	}
	var slowest time.Duration
	for range kills() {
		before := load.count()
		p.until("the clients to get through", func() bool { return load.count() > before+clients })
		pause := time.NewTimer(rand.N(200 * time.Millisecond)) // so that each kill hits another step
		<-pause.C
		p.kill()
		restart := time.Now()
		p = start(t, dir, environ...)
		slowest = max(slowest, time.Since(restart))
	}
	stop()
	wg.Wait()

	byKey := load.everything()
	for id, key := range byKey {
		if want := task.KeyedID("local", key); id != want {
			t.Errorf("the key %s is task %s, want %s", key, id, want)
		}
	}
	// Everything in the store ends, acknowledged or not: there are no orphans.
	p.until("every task to finish", func() bool {
		return len(p.list("status=READY")) == 0 && len(p.list("status=RUNNING")) == 0
	})
	stored := map[string]bool{}
	for _, doc := range p.list("limit=100") {
		if stored[doc.ID] {
			t.Errorf("%s is stored twice", doc.ID)
		}
		stored[doc.ID] = true
		if doc.State != task.StateSucceeded || string(doc.ReturnValue) != "3" {
			t.Errorf("%s is %s after %d attempts: %v", doc.ID, doc.State, doc.Attempts, doc.Errors)
		}
	}
	for id := range byKey {
		if !stored[id] {
			t.Errorf("%s was answered 202 and is lost", id)
		}
	}
	p.kill()
	dead := exec.Command(binary, "dead-letters")
	dead.Env = []string{"TASKGATE_DATA=" + dir}
	if out, err := dead.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("dead letters: %s, %v", out, err)
	}
	t.Logf("%d kills: %d tasks answered 202, %d stored, all SUCCESSFUL; slowest restart %v",
		kills(), len(byKey), len(stored), slowest.Round(time.Millisecond))
}

// load is what the clients have got through so far.
type load struct {
	client *http.Client
	url    string

	mu       sync.Mutex
	accepted map[string]string // task id → Idempotency-Key
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted)
}

func (l *load) everything() map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted
}

// run enqueues until ctx ends, repeating each request with its key until it is
// accepted, as a client should. The service may be gone at any moment.
func (l *load) run(ctx context.Context, t *testing.T) {
	p := &process{T: t, url: l.url, client: l.client}
	for ctx.Err() == nil {
		key := uuid.NewString()
		for ctx.Err() == nil {
			status, answer, err := p.try(ctx, "POST", "/v1/tasks", `{"task_name":"add","args":[1,2]}`, "Idempotency-Key", key)
			var doc task.Document
			if err == nil && status == http.StatusAccepted && json.Unmarshal(answer, &doc) == nil {
				l.mu.Lock()
				l.accepted[doc.ID] = key
				l.mu.Unlock()
				break
			}
			again := time.NewTimer(5 * time.Millisecond)
			select {
			case <-again.C:
			case <-ctx.Done():
			}
		}
	}
}

// list walks a listing to its end.
func (p *process) list(query string) (docs []task.Document) {
	p.Helper()
	cursor := ""
	for {
		status, answer := p.send("GET", "/v1/tasks?"+query+cursor, "")
		var page struct {
			Items      []task.Document `json:"items"`
			NextCursor *string         `json:"next_cursor"`
		}
		if err := json.Unmarshal(answer, &page); err != nil || status != http.StatusOK {
			p.Fatalf("list: %d %s, %v", status, answer, err)
		}
		docs = append(docs, page.Items...)
		if page.NextCursor == nil {
			return docs
		}
		cursor = "&cursor=" + *page.NextCursor
	}
}

// summer is the demo's worker on its own, which outlives the service. Its leases are
// short, so that an attempt whose report was lost does not hold a test up.
type summer struct {
	url     string
	handler chan http.Handler
	t       *testing.T
}

func newSummer(t *testing.T) *summer {
	s := &summer{t: t, handler: make(chan http.Handler, 1)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case h := <-s.handler:
			s.handler <- h
			h.ServeHTTP(w, r)
		case <-r.Context().Done(): // whoever pushed this is dead
		}
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// serve begins to work for the service at a base URL.
func (s *summer) serve(eventsBase string) {
	w, err := worker.New(worker.Config{
		Handler: demo.Mux(), EventsBase: eventsBase, Lease: 5 * time.Second, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		s.t.Fatal(fmt.Errorf("the worker: %w", err))
	}
	s.handler <- w.PushHandler(s.t.Context())
}
