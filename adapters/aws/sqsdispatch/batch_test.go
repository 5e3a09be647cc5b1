package sqsdispatch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/adapters/aws/sqsdispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/tasktest"
	"github.com/taskgate/taskgate/emulators"
	"github.com/taskgate/taskgate/emulators/faultproxy"
)

var batches = faultproxy.Operation("SendMessageBatch")

// failing refuses the entries of a batch whose body has the mark, however often
// they are sent.
func failing(mark, code string, sendersFault bool) faultproxy.Fault {
	return func(x *faultproxy.Exchange) {
		var request struct {
			Entries []struct{ MessageBody string }
		}
		if err := json.Unmarshal(x.Body, &request); err != nil {
			panic(err)
		}
		var failed []faultproxy.FailedEntry
		for i, e := range request.Entries {
			if strings.Contains(e.MessageBody, mark) {
				failed = append(failed, faultproxy.FailedEntry{Index: i, Code: code, SenderFault: sendersFault})
			}
		}
		faultproxy.PartialBatch(failed...)(x)
	}
}

func newService(d task.Dispatcher) (*task.Service, *tasktest.Store) {
	store := &tasktest.Store{}
	return &task.Service{
		Store:           store,
		Backends:        map[string]task.Backend{"default": {Dispatcher: d, Target: "sqs", DefaultQueue: "tasks"}},
		Tokens:          task.Tokens{Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}},
		ResultTTL:       time.Hour,
		MaxPayloadBytes: 1 << 20,
		Now:             time.Now,
		NewID:           task.NewID,
		Log:             slog.New(slog.DiscardHandler),
	}, store
}

// TestOf1000TasksExactlyTheFailingOnesAreReported: every tenth is refused by the
// queue, again and again. None of the others is lost, and none doubled.
func TestOf1000TasksExactlyTheFailingOnesAreReported(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	url := createQueue(t, e.URL(), "tasks", nil)
	p := faultproxy.New(t, e.URL())
	p.Always(batches, failing("unlucky", "InternalError", false))
	service, store := newService(sqsdispatch.New(client(p.URL()), sqsdispatch.Options{}))
	call := task.Call{Owner: "alice", BaseURL: "https://tasks.example.com"}

	const n = 1000
	accepted := map[string]bool{}
	for i := 0; i < n; i += task.MaxBatch {
		reqs := make([]task.Request, task.MaxBatch)
		for j := range reqs {
			reqs[j] = task.Request{TaskName: "lucky", Backend: "default", Args: jsontext.Value(fmt.Sprintf("[%d]", i+j)), Kwargs: jsontext.Value("{}")}
			if (i+j)%10 == 9 {
				reqs[j].TaskName = "unlucky"
			}
		}
		for j, a := range service.EnqueueBatch(t.Context(), call, reqs) {
			if want := map[bool]task.Kind{true: task.Unavailable}[(i+j)%10 == 9]; task.KindOf(a.Err) != want {
				t.Fatalf("task %d: %v, want %q", i+j, a.Err, want)
			}
			if a.Err == nil {
				accepted[a.Task.ID] = false
			}
		}
	}
	receive := receiver(e.URL(), url)
	for range accepted {
		got, err := receive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen, known := accepted[got.Attributes[task.AttributeTaskID]]
		if !known || seen {
			t.Fatalf("received %s: accepted %t, received before %t", got.Body, known, seen)
		}
		accepted[got.Attributes[task.AttributeTaskID]] = true
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if got, err := receive(ctx); err == nil {
		t.Errorf("received one too many: %s", got.Body)
	}
	if len(accepted) != n*9/10 || store.Len() != n {
		t.Errorf("%d accepted, %d records", len(accepted), store.Len())
	}
}

func TestAFailedEntryIsSentOnceMoreUnlessThatIsUseless(t *testing.T) {
	p, d := behindProxy(t)
	ms := func() (ms []task.Outgoing) {
		for i := range 12 {
			m := outgoing("tasks", 0)
			if i%4 == 3 {
				m.Body = []byte(strings.Replace(string(m.Body), "send", "unlucky", 1))
			}
			ms = append(ms, m)
		}
		return ms
	}
	outcomes := func(rs []task.DispatchResult) (kinds string) {
		for _, r := range rs {
			kinds += map[task.Kind]string{"": ".", task.Unavailable: "u", task.MessageRejected: "r"}[task.KindOf(r.Err)]
		}
		return kinds
	}
	calls := func(do func()) int { before := p.Count(batches); do(); return p.Count(batches) - before }

	p.Next(batches, failing("unlucky", "InternalError", false), failing("unlucky", "InternalError", false))
	if n := calls(func() {
		if got := outcomes(d.DispatchBatch(t.Context(), ms())); got != "............" {
			t.Errorf("failed once: %s", got)
		}
	}); n != 4 {
		t.Errorf("failed once: %d calls, want 2 and 2 again", n)
	}
	p.Always(batches, failing("unlucky", "InvalidMessageContents", true))
	if n := calls(func() {
		if got := outcomes(d.DispatchBatch(t.Context(), ms())); got != "...r...r...r" {
			t.Errorf("the sender's fault: %s", got)
		}
	}); n != 2 {
		t.Errorf("the sender's fault: %d calls, want 2", n)
	}
	p.Restore()
	p.Always(batches, faultproxy.AWSThrottled)
	if got := outcomes(d.DispatchBatch(t.Context(), ms())); got != "uuuuuuuuuuuu" {
		t.Errorf("throttled: %s", got)
	}
}
