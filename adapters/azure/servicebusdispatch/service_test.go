package servicebusdispatch_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/adapters/azure/servicebusdispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/wait"
)

func service(d task.Dispatcher) *task.Service {
	return &task.Service{
		Store:     &tasktest.Store{},
		Backends:  map[string]task.Backend{"default": {Dispatcher: d, Target: "servicebus", DefaultQueue: queue}},
		Tokens:    task.Tokens{Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}},
		ResultTTL: time.Hour, MaxPayloadBytes: 1 << 20,
		Now: time.Now, NewID: task.NewID, Log: slog.New(slog.DiscardHandler),
	}
}

// TestAKeyedRequestThatIsRepeatedEndsWithOneRecordAndOneMessage: the first
// answer is lost more often than the SDK tries, or never comes.
func TestAKeyedRequestThatIsRepeatedEndsWithOneRecordAndOneMessage(t *testing.T) {
	_, lossy, lossyWorker := warm(t, emulators.BusQueue{RequiresDuplicateDetection: true, LoseAnswers: 6})
	proxy, silent, silentWorker := warm(t, emulators.BusQueue{RequiresDuplicateDetection: true})
	for name, c := range map[string]struct {
		d     *servicebusdispatch.Dispatcher
		w     *worker
		fault func()
	}{
		"lost":   {lossy, lossyWorker, func() {}},
		"silent": {silent, silentWorker, proxy.Silence},
	} {
		t.Run(name, func(t *testing.T) {
			s := service(c.d)
			call := task.Call{Owner: "alice", BaseURL: "https://tasks.example.com"}
			req, err := task.ParseRequest(jsontext.Value(`{"task_name":"send_email"}`), false)
			if err != nil {
				t.Fatal(err)
			}
			req.Key = "order-1"
			c.fault()
			_, err = s.Enqueue(t.Context(), call, req)
			if task.KindOf(err) != task.Unavailable {
				t.Fatalf("the first request: %v, want %s", err, task.Unavailable)
			}
			var a task.Accepted
			wait.Succeeds(t, "the repeated request", func() error {
				a, err = s.Enqueue(t.Context(), call, req)
				return err
			})
			sameIDs(t, c.w.ids(t, 1), []string{a.Task.ID})
			page, err := s.Store.List(t.Context(), task.Query{Limit: 10})
			if err != nil || len(page.Records) != 1 || !page.Records[0].Keyed.Dispatched {
				t.Errorf("records: %+v, %v", page.Records, err)
			}
		})
	}
}
