package cosmosstore_test

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
)

// TestAKeyedRequestThatIsRepeatedEndsWithOneRecord: whichever of its writes
// failed, was lost, or was applied and not answered.
func TestAKeyedRequestThatIsRepeatedEndsWithOneRecord(t *testing.T) {
	p, s := behindProxy(t)
	queue := &tasktest.Queue{}
	var ahead time.Duration
	service := &task.Service{
		Store:     s,
		Backends:  map[string]task.Backend{"default": {Dispatcher: queue, Target: "memory", DefaultQueue: "mail"}},
		Tokens:    task.Tokens{Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}},
		ResultTTL: time.Hour, MaxPayloadBytes: 1 << 20,
		Now: func() time.Time { return time.Now().Add(ahead) }, NewID: task.NewID, Log: slog.New(slog.DiscardHandler),
	}
	call := task.Call{Owner: "alice", BaseURL: "https://tasks.example.com"}
	for _, method := range []string{"POST", "PUT"} {
		for name, f := range map[string]faultproxy.Fault{
			"lost": faultproxy.ResetBefore, "not answered": faultproxy.ResetAfter, "refused": faultproxy.AzureUnauthorized,
			"throttled": faultproxy.CosmosThrottled(5 * time.Second), "down": faultproxy.Status(503, "{}"),
		} {
			req, err := task.ParseRequest(jsontext.Value(`{"task_name":"send_email"}`), false)
			check(t, err)
			req.Key = method + " " + name
			p.Always(faultproxy.Route(method, "/docs"), f)
			_, err = service.Enqueue(t.Context(), call, req)
			if method == "POST" && task.KindOf(err) != task.Unavailable || method == "PUT" && err != nil { // a lost mark costs nothing
				t.Fatalf("%s: the first request: %v", req.Key, err)
			}
			p.Restore()
			ahead += time.Minute // the first request is surely over
			a, err := service.Enqueue(t.Context(), call, req)
			check(t, err)
			page, err := s.List(t.Context(), task.Query{Owner: "alice", Limit: 100})
			check(t, err)
			found := 0
			for _, r := range page.Records {
				if r.ID == a.Task.ID && r.Keyed.Dispatched {
					found++
				}
			}
			if found != 1 {
				t.Errorf("%s: %d records, want 1", req.Key, found)
			}
		}
	}
}

// TestConcurrentReportsTakeEffectOnceEach: 30 workers at once, and
// the one whose attempt it is.
func TestConcurrentReportsTakeEffectOnceEach(t *testing.T) {
	_, s := behindProxy(t)
	r := record()
	check(t, create1(s, r)(t.Context()))
	var all sync.WaitGroup
	for range 30 { // each reads, adds its mark and writes, until its write is the one that wins
		all.Go(func() {
			for {
				got, err := s.Get(t.Context(), r.ID)
				if err != nil {
					t.Error(err)
					return
				}
				got.WorkerIDs = append(got.WorkerIDs, "w")
				switch err := s.Replace(t.Context(), got); task.KindOf(err) {
				case "":
					return
				case task.Conflict:
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	got, err := s.Get(t.Context(), r.ID)
	check(t, err)
	if len(got.WorkerIDs) != 30 {
		t.Errorf("%d of 30 marks are there", len(got.WorkerIDs))
	}
}
