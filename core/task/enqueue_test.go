package task_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
)

const sendEmail = `{"task_name":"send_email","args":["a@b.c"],"kwargs":{"n":12345678901234567890}}`

const everything = `{"task_name":"t","args":[1.10,"\u00e9\/"],"kwargs":{"b":1,"a":2},"max_attempts":3,"takes_context":true,
	"expires_at":"2026-11-24T00:00:00.5+01:00","delay_seconds":1.5,"metadata":{"z":"1","a":"2"}}`

func traced() task.Call {
	c := call
	c.Traceparent, c.Tracestate = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "v=1"
	return c
}

func TestMessageMatchesTheContract(t *testing.T) {
	small := func(string, time.Duration) task.Limits {
		return task.Limits{Route: "memory", MaxMessageBytes: new(int64(500))}
	}
	for name, c := range map[string]struct {
		call    task.Call
		request string
		payload task.Payload
		limits  func(string, time.Duration) task.Limits
	}{
		"message.txt":           {call, sendEmail, task.PayloadJSON, nil},
		"message-whole.txt":     {traced(), everything, "", nil},
		"message-plain.txt":     {traced(), everything, task.PayloadPlain, nil},
		"message-django.txt":    {traced(), strings.Replace(everything, `"max_attempts":3,`, "", 1), task.PayloadDjango, nil},
		"message-offloaded.txt": {call, `{"task_name":"t","args":["` + strings.Repeat("x", 500) + `"]}`, "", small},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.queue.LimitsOf = c.limits
			b := r.Backends["default"]
			b.Payload = c.payload
			r.Backends["default"] = b
			if _, err := r.Enqueue(t.Context(), c.call, parse(t, c.request)); err != nil {
				t.Fatal(err)
			}
			m := r.queue.Held()[0]
			got := string(m.Body) + "\n"
			for _, name := range []string{task.AttributeTaskID, task.AttributeTaskName, task.AttributeTraceparent, task.AttributeEnvelope} {
				if value, ok := m.Attributes[name]; ok {
					got += name + ": " + value + "\n"
				}
			}
			golden(t, name, got)
		})
	}
}

func TestEnqueueWithoutKeyMakesTwoRoundTrips(t *testing.T) {
	r := newRig(t)
	r.enqueue(t, sendEmail)
	if c, d, rest := r.store.Calls(tasktest.Create), r.queue.Calls(tasktest.Dispatch), r.store.Calls(tasktest.Replace)+r.store.Calls(tasktest.Get); c != 1 || d != 1 || rest != 0 {
		t.Errorf("%d creates, %d dispatches, %d others; want 1, 1, 0", c, d, rest)
	}
	r = newRig(t)
	r.queue.CancelRefs = true
	r.enqueue(t, sendEmail)
	if n := r.store.Calls(tasktest.Replace); n != 1 {
		t.Errorf("%d writes to store what a cancel needs, want 1", n)
	}
}

func TestRecordIsCreatedBeforeTheMessageIsSent(t *testing.T) {
	r := newRig(t)
	r.queue.Before(func(ctx context.Context, op tasktest.Op, id string) {
		if op != tasktest.Dispatch {
			return
		}
		if _, err := r.store.Get(ctx, id); err != nil {
			t.Errorf("at dispatch the record is %v", err)
		}
	})
	r.enqueue(t, sendEmail)
}

func TestFailedDispatchWithoutKeyLeavesATombstone(t *testing.T) {
	for name, fault := range map[string]tasktest.Fault{
		"lost": tasktest.Lost, "refused": tasktest.Refused, "applied": tasktest.FailedButApplied,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.queue.Inject(tasktest.Dispatch, fault)
			_, err := r.Enqueue(t.Context(), call, parse(t, sendEmail))
			wantKind(t, err, task.Unavailable)
			id := err.(*task.Error).TaskID
			if doc := r.get(t, id); doc.State != task.StateCancelled {
				t.Errorf("the record is %s, want a tombstone", doc.State)
			}
			_, err = r.report(t.Context(), id, started("d"))
			wantKind(t, err, task.Cancelled)
		})
	}
}

// TestUncertainCreateWithoutKeyIsCancelled: no message, and a
// tombstone where the message could have come with the record. The store that
// has just failed is called for no other reason.
func TestUncertainCreateWithoutKeyIsCancelled(t *testing.T) {
	for name, want := range map[string]string{"record, then message": task.StateQueued, "one commit": task.StateCancelled} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if want == task.StateCancelled {
				b := r.Backends["default"]
				b.Dispatcher = tasktest.Atomic{Queue: r.queue, Store: r.store}
				r.Backends["default"] = b
			}
			r.store.Inject(tasktest.Create, tasktest.FailedButApplied)
			r.queue.Inject(tasktest.CreateAndDispatch, tasktest.FailedButApplied)
			_, err := r.Enqueue(t.Context(), call, parse(t, sendEmail))
			wantKind(t, err, task.Unavailable)
			calls, messages := r.store.Calls(tasktest.Get)+r.store.Calls(tasktest.Replace), len(r.queue.Held())
			if want == task.StateQueued && calls+messages != 0 {
				t.Errorf("%d calls beside the one that failed, and %d messages", calls, messages)
			}
			listing, err := r.List(t.Context(), call, task.Filter{}, 10, "")
			if err != nil || len(listing.Items) != 1 || listing.Items[0].State != want {
				t.Errorf("the listing is %+v, %v; want one task, %s", listing, err, want)
			}
		})
	}
}

func TestRejectedMessageEndsFailedAndIsReplayed(t *testing.T) {
	r := newRig(t)
	never := &task.Error{Kind: task.MessageRejected, Msg: "the name has a bad character"}
	r.queue.Inject(tasktest.Dispatch, tasktest.RefusedWith(never))
	_, first := r.keyed(t.Context(), t, "k", sendEmail)
	wantKind(t, first, task.MessageRejected)
	_, again := r.keyed(t.Context(), t, "k", sendEmail)
	wantKind(t, again, task.MessageRejected)
	if first.Error() != again.Error() {
		t.Errorf("replayed %q, was %q", again, first)
	}
	doc := r.get(t, first.(*task.Error).TaskID)
	if doc.State != task.StateFailed || len(doc.Errors) != 1 || !strings.Contains(doc.Errors[0].Traceback, never.Msg) {
		t.Errorf("the record is %s with %+v", doc.State, doc.Errors)
	}
	if n := r.queue.Calls(tasktest.Dispatch); n != 1 {
		t.Errorf("sent %d times", n)
	}
}

func TestUnsupportedRequestIsRefusedAndSendsNothing(t *testing.T) {
	limits := func(string, time.Duration) task.Limits {
		return task.Limits{SupportsDefer: true, MaxDelaySeconds: new(int64(900)), MaxDeliveries: new(int64(5)), MaxMessageBytes: new(int64(400))}
	}
	for name, c := range map[string]struct {
		request string
		kind    task.Kind
		pointer string
	}{
		"unknown backend":     {`{"task_name":"t","backend":"nope"}`, task.UnknownBackend, "/backend"},
		"queue not in QUEUES": {`{"task_name":"t","queue_name":"nope"}`, task.UnknownQueue, "/queue_name"},
		"priority":            {`{"task_name":"t","priority":1}`, task.PriorityUnsupported, "/priority"},
		"delay beyond":        {`{"task_name":"t","delay_seconds":900.001}`, task.RunAfterUnsupported, "/delay_seconds"},
		"run_after beyond":    {`{"task_name":"t","run_after":"2026-11-23T10:00:00Z"}`, task.RunAfterUnsupported, "/run_after"},
		"group":               {`{"task_name":"t","group":"g"}`, task.GroupUnsupported, "/group"},
		"max_attempts":        {`{"task_name":"t","max_attempts":6}`, task.MaxAttemptsTooHigh, "/max_attempts"},
		"expired already":     {`{"task_name":"t","expires_at":"2026-11-23T09:00:00Z"}`, task.InvalidTask, "/expires_at"},
		"expires when due":    {`{"task_name":"t","run_after":"2026-11-23T09:10:00Z","expires_at":"2026-11-23T09:10:00Z"}`, task.InvalidTask, "/expires_at"},
		"several at once":     {`{"task_name":"t","priority":1,"group":"g"}`, task.InvalidTask, "/priority /group"},
		"payload":             {`{"task_name":"t","args":["` + strings.Repeat("x", 1<<20) + `"]}`, task.PayloadTooLarge, ""},
		"envelope too large":  {`{"task_name":"t","metadata":{"k":"` + strings.Repeat("x", 400) + `"}}`, task.MessageTooLarge, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.queue.LimitsOf = limits
			b := r.Backends["default"]
			b.Queues = []string{"emails"}
			r.Backends["default"] = b
			_, err := r.Enqueue(t.Context(), call, parse(t, c.request))
			wantKind(t, err, c.kind)
			var pointers []string
			for _, f := range err.(*task.Error).Fields {
				pointers = append(pointers, f.Pointer)
			}
			if got := strings.Join(pointers, " "); got != c.pointer {
				t.Errorf("names %q, want %q", got, c.pointer)
			}
			if r.store.Calls(tasktest.Create)+r.queue.Calls(tasktest.Dispatch) != 0 {
				t.Error("something was recorded or sent")
			}
		})
	}
}

func TestPassedOverBackendIsRefusedWithTheReason(t *testing.T) {
	r := newRig(t)
	r.PassedOver = map[string]string{"dummy": "DummyBackend is served by Django itself, not by taskgate"}
	_, err := r.Enqueue(t.Context(), call, parse(t, `{"task_name":"t","backend":"dummy"}`))
	wantKind(t, err, task.UnknownBackend)
	want := "must be one of: default; DummyBackend is served by Django itself, not by taskgate"
	if f := err.(*task.Error).Fields; len(f) != 1 || f[0].Detail != want {
		t.Errorf("got %v, want %q", f, want)
	}
}

func TestDelayIsExactToTheMicrosecond(t *testing.T) {
	r := newRig(t)
	doc := r.enqueue(t, `{"task_name":"t","run_after":"2026-11-23T10:00:00.0000001+00:30"}`)
	if want := "2026-11-23T09:30:00.000001Z"; doc.RunAfter.String() != want || doc.State != task.StateScheduled {
		t.Errorf("run_after %s, %s; want %s, SCHEDULED", doc.RunAfter, doc.State, want)
	}
	if due := r.queue.Held()[0].Due; due != doc.RunAfter {
		t.Errorf("the message is due %s", due)
	}
}

func TestBatchKeepsOrderAndIsNotAtomic(t *testing.T) {
	r := newRig(t)
	reqs := make([]task.Request, 25)
	for i := range reqs {
		reqs[i] = parse(t, `{"task_name":"t"}`)
	}
	reqs[3].Backend = "nope"
	faults := make([]tasktest.Fault, 24)
	for i := range faults {
		faults[i] = tasktest.OK
	}
	faults[5] = tasktest.Refused
	r.queue.Inject(tasktest.BatchItem, faults...)
	accepted, refused := 0, 0
	for i, a := range r.EnqueueBatch(t.Context(), call, reqs) {
		switch task.KindOf(a.Err) {
		case "":
			accepted++
			if doc := r.get(t, a.Task.ID); doc.State != task.StateQueued {
				t.Errorf("accepted, but %s", doc.State)
			}
		case task.Unavailable:
			refused++
			if doc := r.get(t, a.Err.(*task.Error).TaskID); doc.State != task.StateCancelled {
				t.Errorf("refused, but %s", doc.State)
			}
		default:
			if i != 3 {
				t.Errorf("item %d: %v", i, a.Err)
			}
		}
	}
	if accepted != 23 || refused != 1 || len(r.queue.Held()) != 23 || r.queue.Calls(tasktest.DispatchBatch) != 1 {
		t.Errorf("%d accepted, %d refused, %d sent in %d calls; want 23, 1, 23 in 1",
			accepted, refused, len(r.queue.Held()), r.queue.Calls(tasktest.DispatchBatch))
	}
}

func TestAtomicBackendMakesOneCommit(t *testing.T) {
	r := newRig(t)
	b := r.Backends["default"]
	b.Dispatcher = tasktest.Atomic{Queue: r.queue, Store: r.store}
	r.Backends["default"] = b
	if _, err := r.keyed(t.Context(), t, "k", sendEmail); err != nil {
		t.Fatal(err)
	}
	again, err := r.keyed(t.Context(), t, "k", sendEmail)
	if err != nil || !again.Replayed || len(r.queue.Held()) != 1 {
		t.Errorf("repeated: %+v, %v, %d messages", again, err, len(r.queue.Held()))
	}
	if n := r.store.Calls(tasktest.Replace) + r.queue.Calls(tasktest.Dispatch); n != 0 {
		t.Errorf("%d calls beside the commit", n)
	}
}

func TestBatchForAnAtomicBackendIsOneCommit(t *testing.T) {
	r := newRig(t)
	b := r.Backends["default"]
	b.Dispatcher = tasktest.Atomic{Queue: r.queue, Store: r.store}
	r.Backends["default"] = b
	reqs := make([]task.Request, 25)
	for i := range reqs {
		reqs[i] = parse(t, `{"task_name":"t"}`)
	}
	reqs[3].Backend = "nope"
	reqs[5].Key, reqs[6].Key = "k", "k"
	faults := []tasktest.Fault{tasktest.OK, tasktest.Refused}
	r.queue.Inject(tasktest.BatchEntry, faults...)
	for i, a := range r.EnqueueBatch(t.Context(), call, reqs) {
		want := map[int]task.Kind{1: task.Unavailable, 3: task.UnknownBackend}[i]
		if task.KindOf(a.Err) != want || a.Replayed != (i == 6) {
			t.Errorf("item %d: %v, replayed %v; want %q", i, a.Err, a.Replayed, want)
		}
		if a.Err == nil && r.get(t, a.Task.ID).State != task.StateQueued {
			t.Errorf("item %d is accepted, but not there", i)
		}
	}
	if n := len(r.queue.Held()); n != 22 || r.queue.Calls(tasktest.CreateAndDispatch) != 1 {
		t.Errorf("%d sent in %d calls, want 22 in 1", n, r.queue.Calls(tasktest.CreateAndDispatch))
	}
}

func TestParseRequestReportsEveryBrokenRule(t *testing.T) {
	for body, want := range map[string]string{
		`[]`:                               "",
		`{}`:                               "/task_name",
		`{"task_name":""}`:                 "/task_name",
		`{"task_name":"a\u0000"}`:          "/task_name",
		`{"task_name":"t","Args":[]}`:      "/Args",
		`{"task_name":"t","args":{}}`:      "/args",
		`{"task_name":"t","kwargs":[]}`:    "/kwargs",
		`{"task_name":"t","args":null}`:    "/args",
		`{"task_name":"t","priority":1.5}`: "/priority",
		`{"task_name":"t","priority":"1"}`: "/priority",
		`{"task_name":"t","run_after":"2030-01-31T12:00:00"}`:                    "/run_after",
		`{"task_name":"t","run_after":"2030-01-31T12:00:00Z","delay_seconds":1}`: "/delay_seconds",
		`{"task_name":"t","delay_seconds":-1}`:                                   "/delay_seconds",
		`{"task_name":"t","delay_seconds":1e400}`:                                "/delay_seconds",
		`{"task_name":"t","max_attempts":0}`:                                     "/max_attempts",
		`{"task_name":"t","max_attempts":1001}`:                                  "/max_attempts",
		`{"task_name":"t","metadata":{"_k":"v"}}`:                                "/metadata/_k",
		`{"task_name":"t","metadata":{"k":1}}`:                                   "/metadata/k",
		`{"task_name":"t","takes_context":1}`:                                    "/takes_context",
		`{"task_name":"t","idempotency_key":"k"}`:                                "/idempotency_key",
		`{"task_name":1,"args":1,"zzz":1}`:                                       "/task_name /args /zzz",
		`{"task_name":"` + strings.Repeat("é", 256) + `"}`:                       "/task_name",
		`{"task_name":"t","group":"` + strings.Repeat("g", 129) + `"}`:           "/group",
		`{"task_name":"t","metadata":{"` + strings.Repeat("k", 41) + `":"v"}}`:   "/metadata/" + strings.Repeat("k", 41),
		`{"task_name":"t","metadata":{"k":"` + strings.Repeat("v", 501) + `"}}`:  "/metadata/k",
	} {
		_, err := task.ParseRequest(jsontext.Value(body), false)
		wantKind(t, err, task.InvalidTask)
		var pointers []string
		for _, f := range err.(*task.Error).Fields {
			pointers = append(pointers, f.Pointer)
		}
		if got := strings.Join(pointers, " "); got != want {
			t.Errorf("%.80s names %q, want %q", body, got, want)
		}
	}
	for _, body := range []string{
		`{"task_name":"` + strings.Repeat("é", 255) + `"}`,
		`{"task_name":"t","queue_name":null,"run_after":null,"delay_seconds":null,"expires_at":null,"group":null,"max_attempts":null}`,
		`{"task_name":"t","run_after":"2030-01-31T12:00:00Z","delay_seconds":null}`,
		`{"task_name":"t","priority":0.0,"max_attempts":1e3}`,
	} {
		parse(t, body)
	}
}
