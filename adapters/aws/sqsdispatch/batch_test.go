package sqsdispatch_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/adapters/aws/sqsdispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
)

var batches = faultproxy.Operation("SendMessageBatch")

// failing refuses the entries of a batch whose body has the mark, however often
// they are sent.
func failing(mark, code string, sendersFault bool) faultproxy.Fault {
	return refusing(func(body string) bool { return strings.Contains(body, mark) }, code, sendersFault)
}

// failingOnce refuses each entry whose body has the mark when it is sent for the
// first time. The calls of a large batch run concurrently: a script that counts
// calls could refuse the second attempt of one and the first of none.
func failingOnce(mark, code string) faultproxy.Fault {
	var seen sync.Map
	return refusing(func(body string) bool {
		_, again := seen.LoadOrStore(body, true)
		return strings.Contains(body, mark) && !again
	}, code, false)
}

// refusing refuses the entries whose body is chosen.
func refusing(chosen func(body string) bool, code string, sendersFault bool) faultproxy.Fault {
	return func(x *faultproxy.Exchange) {
		var request struct {
			Entries []struct{ MessageBody string }
		}
		if err := json.Unmarshal(x.Body, &request); err != nil {
			panic(err)
		}
		var failed []faultproxy.FailedEntry
		for i, e := range request.Entries {
			if chosen(e.MessageBody) {
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

// TestExactlyTheFailingTasksOf1000AreReported: every tenth is refused by the
// queue, again and again. None of the others is lost, and none doubled.
func TestExactlyTheFailingTasksOf1000AreReported(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	createQueue(t, e.URL(), "tasks", nil)
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
				accepted[a.Task.ID] = true
			}
		}
	}
	if len(accepted) != n*9/10 || store.Len() != n {
		t.Errorf("%d accepted, %d records", len(accepted), store.Len())
	}
	arriveOnce(t, accepted, e.URL())
}

// TestEveryFailingSubsetOfABatchIsReported: each of the 1,023 ways in which
// some of ten can fail. What is accepted arrives once, and what is not never.
func TestEveryFailingSubsetOfABatchIsReported(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	createQueue(t, e.URL(), "tasks", nil)
	p := faultproxy.New(t, e.URL())
	service, store := newService(sqsdispatch.New(client(p.URL()), sqsdispatch.Options{}))
	call := task.Call{Owner: "alice", BaseURL: "https://tasks.example.com"}
	accepted, sent := map[string]bool{}, 0
	for _, mode := range []string{"the sender's fault", "for good", "once"} {
		step := 37 // those that are sent again are slower, and the same
		if mode == "the sender's fault" && !testing.Short() {
			step = 1
		}
		p.Restore()
		if mode != "once" {
			p.Always(batches, failing("unlucky", "KmsAccessDenied", mode == "the sender's fault"))
		}
		for subset := 1; subset < 1<<10; subset += step {
			if mode == "once" {
				p.Next(batches, failing("unlucky", "InternalError", false))
			}
			reqs := make([]task.Request, 10)
			for i := range reqs {
				reqs[i] = task.Request{TaskName: "lucky", Backend: "default", Args: jsontext.Value("[]"), Kwargs: jsontext.Value("{}")}
				if subset>>i&1 == 1 {
					reqs[i].TaskName = "unlucky"
				}
			}
			for i, a := range service.EnqueueBatch(t.Context(), call, reqs) {
				if want := map[bool]task.Kind{true: task.Unavailable}[mode != "once" && subset>>i&1 == 1]; task.KindOf(a.Err) != want {
					t.Fatalf("subset %010b, %s: entry %d: %v, want %q", subset, mode, i, a.Err, want)
				}
				if sent++; a.Err == nil {
					accepted[a.Task.ID] = true
				}
			}
		}
	}
	if store.Len() != sent {
		t.Errorf("%d records of %d tasks", store.Len(), sent)
	}
	arriveOnce(t, accepted, e.URL())
}

// arriveOnce takes everything out of the queue.
func arriveOnce(t *testing.T, accepted map[string]bool, url string) {
	t.Helper()
	n := len(accepted)
	for _, id := range awsemu.Drain(t, client(url), "tasks", task.AttributeTaskID) {
		if !accepted[id] {
			t.Fatalf("%s has arrived: it was not accepted, or has arrived before", id)
		}
		delete(accepted, id)
	}
	if len(accepted) > 0 {
		t.Errorf("%d of %d have not arrived", len(accepted), n)
	}
}

func TestFailedEntryIsRetriedOnceUnlessFinal(t *testing.T) {
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

	p.Always(batches, failingOnce("unlucky", "InternalError"))
	if n := calls(func() {
		if got := outcomes(d.DispatchBatch(t.Context(), ms())); got != "............" {
			t.Errorf("failed once: %s", got)
		}
	}); n != 4 {
		t.Errorf("failed once: %d calls, want 2 and 2 again", n)
	}
	p.Restore()
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

// TestNoCallHasMoreThanSQSTakes: the emulator takes more, so what is sent is
// looked at. Two messages that fill a call to the byte go in one.
func TestNoCallHasMoreThanSQSTakes(t *testing.T) {
	p, d := behindProxy(t)
	most := int(*d.Limits(t.Context(), "tasks", 0).MaxMessageBytes)
	attributes := len(task.AttributeTaskID) + len("String") + 36
	sized := func(n int) task.Outgoing {
		m := outgoing("tasks", 0)
		m.Body = append(m.Body, strings.Repeat(" ", n-attributes-len(m.Body))...)
		return m
	}
	for name, c := range map[string]struct {
		sizes []int
		calls string
	}{
		"9": {slices.Repeat([]int{200}, 9), "[9]"}, "10": {slices.Repeat([]int{200}, 10), "[10]"}, "11": {slices.Repeat([]int{200}, 11), "[1 10]"},
		"20": {slices.Repeat([]int{200}, 20), "[10 10]"}, "21": {slices.Repeat([]int{200}, 21), "[1 10 10]"},
		"to the byte": {[]int{most, 1<<20 - most}, "[2]"}, "a byte more": {[]int{most, 1<<20 - most + 1}, "[1 1]"}, "a byte less": {[]int{most, 1<<20 - most - 1}, "[2]"},
	} {
		before := p.Count(batches)
		var ms []task.Outgoing
		for _, n := range c.sizes {
			ms = append(ms, sized(n))
		}
		for i, r := range d.DispatchBatch(t.Context(), ms) {
			if r.Err != nil {
				t.Errorf("%s: message %d: %v", name, i, r.Err)
			}
		}
		var calls []int
		for _, r := range p.Requests(batches)[before:] {
			var sent struct {
				Entries []struct{ MessageBody string }
			}
			if err := json.Unmarshal(r.Body, &sent); err != nil {
				t.Fatal(err)
			}
			calls = append(calls, len(sent.Entries))
		}
		slices.Sort(calls)
		if fmt.Sprint(calls) != c.calls {
			t.Errorf("%s: calls of %v, want %s", name, calls, c.calls)
		}
	}
}
