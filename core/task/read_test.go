package task_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
)

func TestOwnersSeeOnlyTheirOwnTasks(t *testing.T) {
	r := newRig(t)
	id := r.enqueue(t, sendEmail).ID
	bob := task.Call{Owner: "bob"}
	_, err := r.Get(t.Context(), bob, id, 0)
	wantKind(t, err, task.UnknownTask)
	_, _, err = r.Cancel(t.Context(), bob, id)
	wantKind(t, err, task.UnknownTask)
	if l, err := r.List(t.Context(), bob, task.Filter{}, 10, ""); err != nil || len(l.Items) != 0 {
		t.Errorf("bob's listing: %+v, %v", l, err)
	}
	admin := task.Call{Owner: "root", Admin: true}
	if _, err := r.Get(t.Context(), admin, id, 0); err != nil {
		t.Errorf("admin: %v", err)
	}
	if l, _ := r.List(t.Context(), admin, task.Filter{}, 10, ""); len(l.Items) != 1 {
		t.Errorf("admin's listing: %+v", l)
	}
}

func TestWaitingGetReturnsWhenTheTaskFinishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.Now = time.Now
		id := r.enqueue(t, sendEmail).ID
		start := time.Now()
		time.AfterFunc(5*time.Second, func() {
			r.must(t, id, started("d"))
			r.must(t, id, succeeded(1, "42"))
		})
		doc, err := r.Get(t.Context(), call, id, 20*time.Second)
		if took := time.Since(start); err != nil || string(doc.ReturnValue) != "42" || took > 7*time.Second {
			t.Errorf("%s after %v, %v", doc.State, took, err)
		}
	})
}

func TestWaitingGetReturnsTheCurrentTaskAfterTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.Now, r.MaxWait = time.Now, 3*time.Second
		id := r.enqueue(t, sendEmail).ID
		start := time.Now()
		doc, err := r.Get(t.Context(), call, id, 20*time.Second)
		if took := time.Since(start); err != nil || doc.State != task.StateQueued || took != 3*time.Second {
			t.Errorf("%s after %v, %v", doc.State, took, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if doc, err := r.Get(ctx, call, id, 20*time.Second); err != nil || doc.State != task.StateQueued {
			t.Errorf("at the caller's own deadline: %s, %v", doc.State, err)
		}
	})
}

func TestExpiryIsStoredNotOnlyShown(t *testing.T) {
	r := newRig(t)
	id := r.enqueue(t, `{"task_name":"t","expires_at":"2026-11-23T09:01:00Z"}`).ID
	r.advance(time.Minute)
	l, err := r.List(t.Context(), call, task.Filter{}, 10, "")
	if err != nil || l.Items[0].State != task.StateExpired {
		t.Fatalf("listed %+v, %v", l, err)
	}
	stored, err := r.store.Get(t.Context(), id)
	if err != nil || stored.Status != task.Failed {
		t.Errorf("stored %s, %v", stored.Status, err)
	}
	if e := stored.Errors[0]; !strings.HasPrefix(e.Traceback, "expired") {
		t.Errorf("the error says %q", e.Traceback)
	}
}

func TestCancelPreventsOrRequests(t *testing.T) {
	r := newRig(t)
	queued := r.enqueue(t, sendEmail).ID
	for range 2 { // repeating it answers the same
		prevented, doc, err := r.Cancel(t.Context(), call, queued)
		if !prevented || err != nil || doc.Status != task.Failed || doc.State != task.StateCancelled {
			t.Errorf("queued: %v, %s, %v", prevented, doc.State, err)
		}
	}
	if n := len(r.queue.Held()); n != 0 {
		t.Errorf("%d messages were left", n)
	}

	running := r.enqueue(t, sendEmail).ID
	r.must(t, running, started("d"))
	prevented, doc, err := r.Cancel(t.Context(), call, running)
	if prevented || err != nil || !doc.CancelRequested {
		t.Errorf("running: %v, %+v, %v", prevented, doc, err)
	}
	if a := r.must(t, running, task.Event{Type: task.EventHeartbeat, Attempt: 1}); !a.CancelRequested {
		t.Error("the worker is not told")
	}
	r.advance(time.Minute)
	if prevented, doc, err = r.Cancel(t.Context(), call, running); !prevented || err != nil || doc.State != task.StateCancelled {
		t.Errorf("lapsed: %v, %s, %v", prevented, doc.State, err)
	}

	done := r.enqueue(t, sendEmail).ID
	r.must(t, done, started("d"))
	r.must(t, done, succeeded(1, "1"))
	_, _, err = r.Cancel(t.Context(), call, done)
	wantKind(t, err, task.Finished)
}

func TestCancelOfAPlainPayloadIsOnlyRequested(t *testing.T) {
	r := newRig(t)
	b := r.Backends["default"]
	b.Payload = task.PayloadPlain
	r.Backends["default"] = b
	id := r.enqueue(t, sendEmail).ID
	if prevented, doc, err := r.Cancel(t.Context(), call, id); prevented || err != nil || doc.State != task.StateCancelled {
		t.Errorf("%v, %s, %v", prevented, doc.State, err)
	}
}

func TestCancelAtARemovedBackendIsOnlyRequested(t *testing.T) {
	r := newRig(t)
	id := r.enqueue(t, sendEmail).ID
	delete(r.Backends, "default")
	if prevented, doc, err := r.Cancel(t.Context(), call, id); prevented || err != nil || doc.State != task.StateCancelled {
		t.Errorf("%v, %s, %v", prevented, doc.State, err)
	}
}

func TestCancelCountsThoughItsMessageStays(t *testing.T) {
	r := newRig(t)
	r.queue.Inject(tasktest.Cancel, tasktest.Lost)
	id := r.enqueue(t, sendEmail).ID
	if prevented, _, err := r.Cancel(t.Context(), call, id); !prevented || err != nil {
		t.Fatal(prevented, err)
	}
	_, err := r.report(t.Context(), id, started("d"))
	wantKind(t, err, task.Cancelled)
}

func TestListingVisitsEachTaskOnceNewestFirst(t *testing.T) {
	r := newRig(t)
	var want []string
	for i := range 23 {
		want = append(want, r.enqueue(t, fmt.Sprintf(`{"task_name":"t%d"}`, i%2)).ID)
		r.advance(time.Millisecond)
	}
	slices.Reverse(want)
	var got []string
	cursor := ""
	for {
		l, err := r.List(t.Context(), call, task.Filter{}, 5, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range l.Items {
			got = append(got, doc.ID)
		}
		if cursor = l.NextCursor; cursor == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("walked %v, want %v", got, want)
	}

	one, err := r.List(t.Context(), call, task.Filter{TaskName: "t1"}, 5, "")
	if err != nil || len(one.Items) != 5 || one.Items[0].TaskName != "t1" {
		t.Fatalf("filtered: %+v, %v", one, err)
	}
	_, err = r.List(t.Context(), call, task.Filter{TaskName: "t0"}, 5, one.NextCursor)
	wantKind(t, err, task.InvalidCursor)
	made, err := base64.RawURLEncoding.DecodeString(one.NextCursor)
	if err != nil {
		t.Fatal(err)
	}
	made = []byte(strings.Replace(string(made), "0000-7000", strings.Repeat("x", 2000), 1)) // longer than a store takes in a key
	for _, bad := range []string{"x", "e30", "!!!", base64.RawURLEncoding.EncodeToString(made)} {
		_, err = r.List(t.Context(), call, task.Filter{TaskName: "t1"}, 5, bad)
		wantKind(t, err, task.InvalidCursor)
	}
}

func TestPageOfLargeTasksFitsThroughAFrontDoor(t *testing.T) {
	r := newRig(t)
	var want []string
	for i := range 12 { // eight have 1 MiB, and each third is small
		args := `["` + strings.Repeat(`\"`, (1<<19-1000)*min(1, i%3)) + `"]`
		want = append(want, r.enqueue(t, `{"task_name":"t","args":`+args+`}`).ID)
		r.advance(time.Millisecond)
	}
	slices.Reverse(want)
	var got []string
	pages, cursor := 0, ""
	for {
		l, err := r.List(t.Context(), call, task.Filter{}, 100, cursor)
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(l.Items, task.JSONOptions)
		if err != nil || len(body) > task.MaxListBytes+200 || len(l.Items) == 0 {
			t.Fatalf("page %d has %d items with %d bytes, %v", pages, len(l.Items), len(body), err)
		}
		for _, doc := range l.Items {
			got = append(got, doc.ID)
		}
		pages++
		if cursor = l.NextCursor; cursor == "" {
			break
		}
	}
	if !slices.Equal(got, want) || pages != 2 {
		t.Errorf("%d pages: walked %v, want %v", pages, got, want)
	}
}

func TestTaskLargerThanAPageHasItsOwnPage(t *testing.T) {
	r := newRig(t)
	var want []string
	for range 3 {
		id := r.enqueue(t, sendEmail).ID
		r.must(t, id, started("d"))
		r.must(t, id, succeeded(1, `"`+strings.Repeat("x", task.MaxListBytes)+`"`))
		want = append([]string{id}, want...)
		r.advance(time.Millisecond)
	}
	cursor := ""
	for i, id := range want {
		l, err := r.List(t.Context(), call, task.Filter{}, 100, cursor)
		if err != nil || len(l.Items) != 1 || l.Items[0].ID != id || (l.NextCursor == "") != (i == len(want)-1) {
			t.Fatalf("page %d: %d items, cursor %q, %v", i, len(l.Items), l.NextCursor, err)
		}
		cursor = l.NextCursor
	}
}

func TestStateFilterUsesTheCurrentState(t *testing.T) {
	for _, state := range states {
		r := newRig(t)
		id := r.enqueue(t, `{"task_name":"t"`+state.request+`}`).ID
		state.bring(t, r, id)
		is := r.get(t, id).State
		for _, asked := range task.States() {
			l, err := r.List(t.Context(), call, task.Filter{State: asked}, 5, "")
			if err != nil || (len(l.Items) == 1) != (asked == is) {
				t.Errorf("a task that is %s, asked for %s: %d items, %v", is, asked, len(l.Items), err)
			}
		}
	}
}

func TestRecordPastItsLifeIsAbsent(t *testing.T) {
	const unfinished = 15*24*time.Hour + resultTTL
	r := newRig(t)
	id := r.enqueue(t, `{"task_name":"t","delay_seconds":3600}`).ID
	r.advance(time.Hour + unfinished - time.Microsecond)
	r.get(t, id)
	r.advance(time.Microsecond)
	_, err := r.Get(t.Context(), call, id, 0)
	wantKind(t, err, task.UnknownTask)
	_, _, err = r.Cancel(t.Context(), call, id)
	wantKind(t, err, task.UnknownTask)
	_, err = r.report(t.Context(), id, started("d"))
	wantKind(t, err, task.UnknownTask)
	if l, err := r.List(t.Context(), call, task.Filter{}, 5, ""); err != nil || len(l.Items) != 0 {
		t.Errorf("listed %+v, %v", l, err)
	}
}

func TestTokenOutlivesTheRecord(t *testing.T) {
	r := newRig(t)
	id := r.enqueue(t, sendEmail).ID
	m, err := task.ParseMessage(r.queue.Held()[0].Body, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.advance(15*24*time.Hour + resultTTL - time.Second)
	reporter, err := r.Reporter(id, m.Token)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reporter.Report(t.Context(), started("d")); err != nil {
		t.Fatal(err)
	}
	if _, err := reporter.Report(t.Context(), succeeded(1, "1")); err != nil {
		t.Fatal(err)
	}
	r.advance(resultTTL - time.Second)
	reporter, err = r.Reporter(id, m.Token)
	if err != nil {
		t.Fatalf("while the record lives: %v", err)
	}
	if _, err := reporter.Report(t.Context(), succeeded(1, "1")); err != nil {
		t.Errorf("repeated: %v", err)
	}
}

func TestTokenIsValidForItsOwnTaskOnly(t *testing.T) {
	r := newRig(t)
	id := r.enqueue(t, sendEmail).ID
	good := r.Tokens.Sign(id, task.Time{}, epoch.Add(time.Hour))
	dot := strings.LastIndexByte(good, '.')
	other := task.Tokens{Secrets: [][]byte{[]byte("another-secret-another-secret-00")}}
	for name, token := range map[string]string{
		"none": "", "garbage": "v1.x.y", "two parts": good[:dot], "no signature": good[:dot+1],
		"another task's": r.Tokens.Sign("01936b5e-0000-7000-8000-0000000000ff", task.At(epoch), epoch.Add(time.Hour)),
		"expired":        r.Tokens.Sign(id, task.Time{}, epoch),
		"forged":         other.Sign(id, task.At(epoch), epoch.Add(time.Hour)),
		"changed":        "v1.e30" + good[dot:],
	} {
		_, err := r.Reporter(id, token)
		if task.KindOf(err) != task.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	rotated := r.Tokens
	r.Tokens.Secrets = append(slices.Clone(other.Secrets), rotated.Secrets...)
	if _, err := r.Reporter(id, good); err != nil {
		t.Errorf("signed by the older secret: %v", err)
	}
}

func TestConcurrentReportsAreNeverLost(t *testing.T) {
	r := newRig(t)
	id := r.enqueue(t, sendEmail).ID
	var wg sync.WaitGroup
	var mu sync.Mutex
	outcomes := map[task.Kind]int{}
	for i := range 30 {
		wg.Go(func() {
			_, err := r.report(t.Context(), id, started(fmt.Sprint("d", i)))
			mu.Lock()
			defer mu.Unlock()
			outcomes[task.KindOf(err)]++
		})
	}
	wg.Wait()
	if outcomes[""] != 1 || outcomes[task.LeaseHeld] != 29 {
		t.Errorf("30 starts at once: %v", outcomes)
	}
}

func TestStartedReturnsOffloadedArguments(t *testing.T) {
	r := newRig(t)
	r.queue.LimitsOf = func(string, time.Duration) task.Limits {
		return task.Limits{MaxMessageBytes: new(int64(500))}
	}
	args := `["` + strings.Repeat("x", 500) + `",1.10]`
	id := r.enqueue(t, `{"task_name":"t","args":`+args+`,"kwargs":{"k":12345678901234567890}}`).ID
	for range 2 {
		a := r.must(t, id, started("d"))
		if string(a.Args) != args || string(a.Kwargs) != `{"k":12345678901234567890}` {
			t.Errorf("handed over %s %s", a.Args, a.Kwargs)
		}
	}
	if a := r.must(t, id, task.Event{Type: task.EventHeartbeat, Attempt: 1}); a.Args != nil {
		t.Error("a heartbeat hands them over again")
	}
}

// full is a store that holds records of so many bytes of results and errors.
type full struct{ *tasktest.Store }

func (s full) Replace(ctx context.Context, r *task.Record) error {
	size := len(r.ReturnValue)
	for _, e := range r.Errors {
		size += len(e.Traceback)
	}
	if size > 1000 {
		return task.Errorf(task.Oversize, "too large")
	}
	return s.Store.Replace(ctx, r)
}

func TestTooLargeResultIsRefusedAndTracebackIsNot(t *testing.T) {
	r := newRig(t)
	r.Store = full{r.store}
	id := r.enqueue(t, sendEmail).ID
	r.must(t, id, started("d"))
	_, err := r.report(t.Context(), id, succeeded(1, `"`+strings.Repeat("x", 1000)+`"`))
	wantKind(t, err, task.ResultTooLarge)
	if doc := r.get(t, id); doc.State != task.StateRunning {
		t.Errorf("after the refusal it is %s", doc.State)
	}
	long := failed(1, false)
	long.Error.Traceback = strings.Repeat("x", 2000)
	r.must(t, id, long)
	if doc := r.get(t, id); doc.State != task.StateFailed || !strings.Contains(doc.Errors[0].Traceback, "no room") {
		t.Errorf("%s, %.60q", doc.State, doc.Errors[0].Traceback)
	}
}

func TestTaskWhoseLifeEndsDuringAChangeIsUnknown(t *testing.T) {
	r := newRig(t)
	id := r.enqueue(t, sendEmail).ID
	r.store.Inject(tasktest.Get, tasktest.OK, tasktest.RefusedWith(task.Errorf(task.NotStored, "swept")))
	r.store.Inject(tasktest.Replace, tasktest.RefusedWith(task.Errorf(task.Conflict, "swept")))
	_, _, err := r.Cancel(t.Context(), call, id)
	wantKind(t, err, task.UnknownTask)
}

// TestFullRecordStillTakesEvents: its tracebacks give way, the longest first.
func TestFullRecordStillTakesEvents(t *testing.T) {
	r := newRig(t)
	r.Store = full{r.store}
	id := r.enqueue(t, sendEmail).ID
	for attempt, length := range []int{600, 390} {
		r.must(t, id, started("d"+strconv.Itoa(attempt)))
		e := failed(attempt+1, true)
		e.Error.Traceback = strings.Repeat("x", length)
		r.must(t, id, e)
	}
	r.must(t, id, task.Event{Type: task.EventDeadLettered})
	doc := r.get(t, id)
	if doc.State != task.StateFailed || len(doc.Errors) != 3 || !strings.Contains(doc.Errors[0].Traceback, "no room") || len(doc.Errors[2].Traceback) > 100 {
		t.Errorf("%s, %v", doc.State, doc.Errors)
	}
}

func TestParseEventReportsEveryBrokenRule(t *testing.T) {
	for body, want := range map[string]string{
		`{}`:                                 "/type",
		`{"type":"nope"}`:                    "/type",
		`{"type":"started"}`:                 "/worker_id /delivery_id",
		`{"type":"heartbeat"}`:               "/attempt",
		`{"type":"heartbeat","attempt":0}`:   "/attempt",
		`{"type":"heartbeat","attempt":"1"}`: "/attempt",
		`{"type":"progress","attempt":1}`:    "/progress",
		`{"type":"progress","attempt":1,"progress":{"fraction":1.5}}`:                          "/progress/fraction",
		`{"type":"progress","attempt":1,"progress":{"message":"m"}}`:                           "/progress/fraction",
		`{"type":"failed","attempt":1}`:                                                        "/error",
		`{"type":"failed","attempt":1,"error":{"traceback":"t"}}`:                              "/error/exception_class_path",
		`{"type":"succeeded","attempt":1,"lease_seconds":45}`:                                  "/lease_seconds",
		`{"type":"heartbeat","attempt":1,"return_value":null}`:                                 "/return_value",
		`{"type":"heartbeat","attempt":1,"lease_seconds":4}`:                                   "/lease_seconds",
		`{"type":"heartbeat","attempt":1,"lease_seconds":3601}`:                                "/lease_seconds",
		`{"type":"succeeded","attempt":1,"error":{"exception_class_path":"e","traceback":""}}`: "/error",
		`{"type":"succeeded","attempt":1,"retryable":true}`:                                    "/retryable",
		`{"type":"heartbeat","attempt":1,"unknown":1}`:                                         "/unknown",
	} {
		_, err := task.ParseEvent(jsontext.Value(body))
		wantKind(t, err, task.InvalidEvent)
		var pointers []string
		for _, f := range err.(*task.Error).Fields {
			pointers = append(pointers, f.Pointer)
		}
		if got := strings.Join(pointers, " "); got != want {
			t.Errorf("%s names %q, want %q", body, got, want)
		}
	}
}
