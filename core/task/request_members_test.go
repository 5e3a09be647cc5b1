package task_test

import (
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
)

const clientID = "0190a4f6-7b3c-7def-8123-456789abcdef"

func TestClientIDWorksAsAnIdempotencyKeyDoes(t *testing.T) {
	r := newRig(t)
	body := `{"id":"` + clientID + `","task_name":"t","args":[1]}`
	first, err := r.Enqueue(t.Context(), call, parse(t, body))
	if err != nil || first.Task.ID != clientID || first.Replayed {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := r.Enqueue(t.Context(), call, parse(t, body))
	if err != nil || !again.Replayed || len(r.queue.Held()) != 1 {
		t.Errorf("repeated: %+v, %v; %d messages", again, err, len(r.queue.Held()))
	}
	_, err = r.Enqueue(t.Context(), call, parse(t, `{"id":"`+clientID+`","task_name":"t","args":[2]}`))
	wantKind(t, err, task.IdempotencyKeyReused)

	bob := task.Call{Owner: "bob", BaseURL: call.BaseURL}
	_, err = r.Enqueue(t.Context(), bob, parse(t, body))
	wantKind(t, err, task.IDTaken)
	if e := err.(*task.Error); e.TaskID != "" || strings.Contains(e.Error(), "alice") {
		t.Errorf("another owner is told %+v", e)
	}
	// Also where the request is not valid: nothing of the other's task shows.
	_, err = r.Enqueue(t.Context(), bob, parse(t, `{"id":"`+clientID+`","task_name":"t","expires_at":"2020-01-01T00:00:00Z"}`))
	wantKind(t, err, task.IDTaken)

	both := parse(t, `{"id":"0190a4f6-7b3c-7def-8123-456789abcdee","task_name":"t"}`)
	both.Key = "k"
	_, err = r.Enqueue(t.Context(), call, both)
	wantKind(t, err, task.InvalidTask)
}

func TestClientIDOfATaskThatTheServiceNamedIsReused(t *testing.T) {
	r := newRig(t)
	id := r.enqueue(t, `{"task_name":"t"}`).ID
	_, err := r.Enqueue(t.Context(), call, parse(t, `{"id":"`+id+`","task_name":"t"}`))
	wantKind(t, err, task.IdempotencyKeyReused)
}

func TestDispatchOfAClientIDResumesAfterAFailure(t *testing.T) {
	r := newRig(t)
	r.queue.Inject(tasktest.Dispatch, tasktest.Refused)
	body := `{"id":"` + clientID + `","task_name":"t"}`
	_, err := r.Enqueue(t.Context(), call, parse(t, body))
	wantKind(t, err, task.Unavailable)
	again, err := r.Enqueue(t.Context(), call, parse(t, body))
	if err != nil || again.Task.ID != clientID || len(r.queue.Held()) != 1 {
		t.Errorf("%+v, %v; %d messages", again, err, len(r.queue.Held()))
	}
}

func TestRequestsThatBreakARuleNameTheMemberAndWhatToWrite(t *testing.T) {
	for body, want := range map[string]strictjson.FieldError{
		`{"task_name":"taskgate.callback"}`:                             {Pointer: "/task_name", Detail: "reserved"},
		`{"task_name":"t","id":"0190A4F6-7B3C-7DEF-8123-456789ABCDEF"}`: {Pointer: "/id", Detail: "lower case"},
		`{"task_name":"t","id":"0190a4f6-7b3c-4def-8123-456789abcdef"}`: {Pointer: "/id", Detail: "version 7"},
		`{"task_name":"t","id":"0190a4f6-7b3c-7def-0123-456789abcdef"}`: {Pointer: "/id", Detail: "version 7"},
		`{"task_name":"t","id":"0190a4f67b3c7def8123456789abcdef"}`:     {Pointer: "/id", Detail: "version 7"},
		`{"task_name":"t","priority":101}`:                              {Pointer: "/priority", Detail: "from -100 to 100"},
		`{"task_name":"t","priority":-100.5}`:                           {Pointer: "/priority", Detail: "from -100 to 100"},

		`{"task_name":"t","run_after":"2027-01-01T00:00:00,5Z"}`:         {Pointer: "/run_after", Detail: "RFC 3339"},
		`{"task_name":"t","run_after":"2027-01-01T0:00:00Z"}`:            {Pointer: "/run_after", Detail: "RFC 3339"},
		`{"task_name":"t","run_after":"2027-01-01T00:00:00+24:00"}`:      {Pointer: "/run_after", Detail: "RFC 3339"},
		`{"task_name":"t","expires_at":"2027-01-01T00:00:00+14:60"}`:     {Pointer: "/expires_at", Detail: "RFC 3339"},
		`{"task_name":"t","expires_at":"２027-01-01T00:00:00Z"}`:          {Pointer: "/expires_at", Detail: "RFC 3339"},
		`{"task_name":"t","expires_at":"2027-1-01T00:00:00.000000000Z"}`: {Pointer: "/expires_at", Detail: "RFC 3339"},
		`{"task_name":"t","expires_at":"2027-01-01T00:00:00,000000Z"}`:   {Pointer: "/expires_at", Detail: "RFC 3339"}, // as long as our own layout
		`{"task_name":"t","run_after":"2027-01-01 00:00:00+00:00"}`:      {Pointer: "/run_after", Detail: "write 2027-01-01T00:00:00Z"},
		`{"task_name":"t","run_after":"2027-01-01 00:00:00.25+02:00"}`:   {Pointer: "/run_after", Detail: "write 2026-12-31T22:00:00.25Z"},
		`{"task_name":"t","run_after":"1900-01-01T00:00:00+00:19:32"}`:   {Pointer: "/run_after", Detail: "write 1899-12-31T23:40:28Z"},
		`{"task_name":"t","run_after":"2027-01-01T00:00:00"}`:            {Pointer: "/run_after", Detail: "no offset; for UTC write 2027-01-01T00:00:00Z"},
		`{"task_name":"t","run_after":"2027-01-01"}`:                     {Pointer: "/run_after", Detail: "write 2027-01-01T00:00:00Z"},
		`{"task_name":"t","run_after":"Fri, 01 Jan 2027 00:00:00 GMT"}`:  {Pointer: "/run_after", Detail: "write 2027-01-01T00:00:00Z"},
		`{"task_name":"t","run_after":"2027-01-01T00:00:00+0000"}`:       {Pointer: "/run_after", Detail: "write 2027-01-01T00:00:00Z"},
	} {
		_, err := task.ParseRequest(jsontext.Value(body), false)
		e, ok := err.(*task.Error)
		if !ok {
			t.Errorf("%s: accepted (%v)", body, err)
			continue
		}
		if e.Kind != task.InvalidTask || len(e.Fields) != 1 || e.Fields[0].Pointer != want.Pointer || !strings.Contains(e.Fields[0].Detail, want.Detail) {
			t.Errorf("%s: %v %+v, want %+v", body, err, e.Fields, want)
		}
	}
}

// TestRebuiltRequestIsReplayed: a client builds its request anew for a repetition,
// and need not write the same bytes.
func TestRebuiltRequestIsReplayed(t *testing.T) {
	const first = `{"task_name":"t","args":["é",1.10],"kwargs":{"a":1,"b":{"c":2,"d":3}},"run_after":"2027-01-01T00:00:00Z"}`
	for body, same := range map[string]bool{
		`{"run_after":"2027-01-01T01:00:00+01:00","kwargs":{"b":{"d":3,"c":2},"a":1},"args":["\u00e9", 1.10],"task_name":"t"}`: true,
		`{"task_name":"t","args":["é",1.10],"kwargs":{"a":1,"b":{"c":2,"d":3}},"run_after":"2027-01-01T00:00:00.000Z",
		  "priority":0,"backend":"default","queue_name":null,"metadata":{},"takes_context":false,"group":null,"max_attempts":null,"id":null}`: true,
		`{"task_name":"t","args":["é",1.1],"kwargs":{"a":1,"b":{"c":2,"d":3}},"run_after":"2027-01-01T00:00:00Z"}`:        false, // the spelling of a number counts
		`{"task_name":"t","args":["é",1.10],"kwargs":{"a":1,"b":{"c":2,"d":4}},"run_after":"2027-01-01T00:00:00Z"}`:       false,
		`{"task_name":"t","args":["é",1.10],"kwargs":{"a":1,"b":{"c":2,"d":3}},"run_after":"2027-01-01T00:00:01Z"}`:       false,
		`{"task_name":"t","args":["e\u0301",1.10],"kwargs":{"a":1,"b":{"c":2,"d":3}},"run_after":"2027-01-01T00:00:00Z"}`: false, // another text, however it looks
	} {
		r := newRig(t)
		if _, err := r.keyed(t.Context(), t, "k", first); err != nil {
			t.Fatal(err)
		}
		a, err := r.keyed(t.Context(), t, "k", body)
		if same && (err != nil || !a.Replayed) || !same && task.KindOf(err) != task.IdempotencyKeyReused {
			t.Errorf("%s: %+v, %v", body, a.Replayed, err)
		}
	}
}

// TestRecordOfThePreviousReleaseIsReplayed: its fingerprint has no version, and is
// compared as that release did.
func TestRecordOfThePreviousReleaseIsReplayed(t *testing.T) {
	r := newRig(t)
	const body = `{"task_name":"t","args":[1.0],"kwargs":{"b":1,"a":2},"metadata":{"k":"v"},"delay_seconds":5}`
	a, err := r.keyed(t.Context(), t, "k", body)
	if err != nil {
		t.Fatal(err)
	}
	refingerprint := func(fingerprint string) {
		t.Helper()
		rec, err := r.store.Get(t.Context(), a.Task.ID)
		if err != nil {
			t.Fatal(err)
		}
		rec.Keyed.Fingerprint = fingerprint
		if err := r.store.Replace(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	refingerprint("44e52f9c0d7c1a82ce51eaa3d6f2f4c2a0a0a9e3dc7a4b9e3f8e5f10f4d4b6aa") // of another request
	_, err = r.keyed(t.Context(), t, "k", body)
	wantKind(t, err, task.IdempotencyKeyReused)

	refingerprint(fingerprintOfThePreviousRelease)
	if a, err := r.keyed(t.Context(), t, "k", body); err != nil || !a.Replayed {
		t.Errorf("its own request: %+v, %v", a, err)
	}
	_, err = r.keyed(t.Context(), t, "k", strings.Replace(body, `"b":1,"a":2`, `"a":2,"b":1`, 1))
	wantKind(t, err, task.IdempotencyKeyReused) // as that release would have said

	refingerprint("3:" + fingerprintOfThePreviousRelease)
	_, err = r.keyed(t.Context(), t, "k", body)
	wantKind(t, err, task.Unavailable)
}

// TestPriorityChoosesTheQueue: DESIGN's rule, at each edge.
func TestPriorityChoosesTheQueue(t *testing.T) {
	r := newRig(t)
	r.Backends["default"] = task.Backend{
		Dispatcher: r.queue, Target: "memory", DefaultQueue: "emails",
		PriorityQueues: map[string]map[int]string{"emails": {10: "high", -100: "low", -10: "lower"}},
	}
	for priority, want := range map[string]string{
		"-100": "low", "-11": "low", "-10": "lower", "-1": "lower", "0": "emails", "9": "emails", "10": "high", "100": "high",
	} {
		doc := r.enqueue(t, `{"task_name":"t","priority":`+priority+`}`)
		held := r.queue.Held()
		if m := held[len(held)-1]; m.Queue != want || doc.Dispatch.Queue != want || doc.QueueName != "emails" {
			t.Errorf("priority %s: sent to %s, dispatch.queue %s, queue_name %s; want %s", priority, m.Queue, doc.Dispatch.Queue, doc.QueueName, want)
		}
	}
	r.Backends["default"] = task.Backend{
		Dispatcher: r.queue, Target: "memory", DefaultQueue: "emails",
		PriorityQueues: map[string]map[int]string{"emails": {50: "high"}},
	}
	if doc := r.enqueue(t, `{"task_name":"t","priority":-5}`); doc.Dispatch.Queue != "emails" {
		t.Errorf("below all thresholds: %s", doc.Dispatch.Queue)
	}
	_, err := r.Enqueue(t.Context(), call, parse(t, `{"task_name":"t","priority":1,"queue_name":"other"}`))
	wantKind(t, err, task.PriorityUnsupported)
}

// TestCancelRemovesTheMessageOfAPriorityQueue: the record remembers where it went.
func TestCancelRemovesTheMessageOfAPriorityQueue(t *testing.T) {
	r := newRig(t)
	r.Backends["default"] = task.Backend{
		Dispatcher: r.queue, Target: "memory", DefaultQueue: "emails",
		PriorityQueues: map[string]map[int]string{"emails": {10: "high"}},
	}
	id := r.enqueue(t, `{"task_name":"t","priority":10}`).ID
	if _, _, err := r.Cancel(t.Context(), call, id); err != nil || len(r.queue.Held()) != 0 {
		t.Errorf("%v; %d messages are left", err, len(r.queue.Held()))
	}
}

func TestQueueNameThatCapabilitiesShowCanBeSent(t *testing.T) {
	for _, c := range []struct {
		queues         []string
		fallback, sent string
		want           string // the queue_name of the document; "" = unknown-queue
	}{
		{[]string{"email-ingestor"}, "testing", "default", "testing"},
		{[]string{"email-ingestor"}, "testing", "testing", "testing"},
		{[]string{"email-ingestor"}, "testing", "", "testing"},
		{[]string{"email-ingestor"}, "testing", "email-ingestor", "email-ingestor"},
		{[]string{"email-ingestor"}, "testing", "other", ""},
		{[]string{"default", "a"}, "testing", "default", "default"},
		{[]string{"a", "b"}, "", "default", ""},
		{[]string{"a", "b"}, "", "", ""},
		{[]string{"a", "b"}, "", "b", "b"},
		{nil, "testing", "default", "default"},
		{nil, "testing", "other", "other"},
		{nil, "", "other", "other"},
	} {
		r := newRig(t)
		r.Backends["default"] = task.Backend{Dispatcher: r.queue, Target: "memory", Queues: c.queues, DefaultQueue: c.fallback}
		req := parse(t, `{"task_name":"t"}`)
		req.QueueName = c.sent
		a, err := r.Enqueue(t.Context(), call, req)
		if c.want == "" {
			wantKind(t, err, task.UnknownQueue)
			continue
		}
		if err != nil || a.Task.QueueName != c.want {
			t.Errorf("%+v: %q, %v", c, a.Task.QueueName, err)
		}
		shown := r.Capabilities(t.Context())["default"].DefaultQueue
		if (shown == nil) != (c.fallback == "") || shown != nil && *shown != c.fallback {
			t.Errorf("%+v: capabilities show the default queue %v", c, shown)
		}
	}
}

func TestAttemptLogTellsEachOfTheNewestAttempts(t *testing.T) {
	r := newRig(t)
	id := r.enqueue(t, `{"task_name":"t"}`).ID
	r.must(t, id, started("a"))
	r.advance(time.Second)
	r.must(t, id, failed(1, true))
	r.must(t, id, started("b"))
	r.advance(time.Minute) // its lease lapses after 45 s
	r.must(t, id, started("c"))
	doc := r.get(t, id)
	if len(doc.AttemptLog) != 3 {
		t.Fatalf("%+v", doc.AttemptLog)
	}
	outcome := func(i int) string {
		if o := doc.AttemptLog[i].Outcome; o != nil {
			return *o
		}
		return ""
	}
	first, second, third := doc.AttemptLog[0], doc.AttemptLog[1], doc.AttemptLog[2]
	if outcome(0) != "failed" || first.Attempt != 1 || first.WorkerID != "w" || first.EndedAt != first.StartedAt.Plus(time.Second) ||
		outcome(1) != "lapsed" || second.EndedAt != second.StartedAt.Plus(45*time.Second) ||
		outcome(2) != "" || !third.EndedAt.IsZero() || third.Attempt != 3 {
		t.Errorf("%+v", doc.AttemptLog)
	}
	for n := 3; n <= 22; n++ {
		r.must(t, id, failed(n, true))
		r.must(t, id, started(doc.ID+string(rune('a'+n))))
	}
	doc = r.get(t, id)
	if n := len(doc.AttemptLog); n != 20 || doc.AttemptLog[0].Attempt != 4 || doc.AttemptLog[19].Attempt != 23 || doc.Attempts != 23 {
		t.Errorf("%d attempts are told: %+v", n, doc.AttemptLog)
	}
}

func TestConsumersThatDoNotReportCannotHaveMaxAttempts(t *testing.T) {
	r := newRig(t)
	b := r.Backends["default"]
	b.Payload = task.PayloadDjango
	r.Backends["default"] = b
	_, err := r.Enqueue(t.Context(), call, parse(t, `{"task_name":"t","max_attempts":3}`))
	wantKind(t, err, task.MaxAttemptsTooHigh)
}

// fingerprintOfThePreviousRelease was computed by that release, of the body above.
const fingerprintOfThePreviousRelease = "a20d128e76f22716f604153189534c1307d71c5730f1ed42832318c04f3734c5"
