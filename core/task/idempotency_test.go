package task_test

import (
	"sync"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
)

func TestConcurrentRequestsWithOneKeyMakeOneTask(t *testing.T) {
	r := newRig(t)
	var wg sync.WaitGroup
	answers := make([]task.Outcome, 64)
	for i := range answers {
		wg.Go(func() { answers[i].Accepted, answers[i].Err = r.keyed(t.Context(), t, "k", sendEmail) })
	}
	wg.Wait()
	first := 0
	for _, a := range answers {
		switch {
		case a.Err != nil:
			wantKind(t, a.Err, task.InFlight)
			if a.Err.(*task.Error).RetryAfter <= 0 {
				t.Error("409 without Retry-After")
			}
		case !a.Replayed:
			first++
		}
	}
	if first != 1 || len(r.queue.Held()) != 1 {
		t.Errorf("%d first answers and %d messages, want 1 and 1", first, len(r.queue.Held()))
	}
}

func TestKeyBelongsToOneRequestAndOneCaller(t *testing.T) {
	r := newRig(t)
	one, err := r.keyed(t.Context(), t, "k", `{"task_name":"t","args":[1.0]}`)
	if err != nil {
		t.Fatal(err)
	}
	same, err := r.keyed(t.Context(), t, "k", `{"args" : [ 1.0 ], "kwargs":{}, "task_name":"t","backend":"default"}`)
	if err != nil || !same.Replayed || same.Task.ID != one.Task.ID {
		t.Errorf("the same request was not replayed: %+v, %v", same, err)
	}
	_, err = r.keyed(t.Context(), t, "k", `{"task_name":"t","args":[1]}`)
	wantKind(t, err, task.IdempotencyKeyReused)

	req := parse(t, `{"task_name":"t"}`)
	req.Key = "k"
	bob, err := r.Enqueue(t.Context(), task.Call{Owner: "bob"}, req)
	if err != nil || bob.Replayed || bob.Task.ID == one.Task.ID {
		t.Errorf("another caller's key is not its own: %+v, %v", bob, err)
	}
	if task.KeyedID("ab", "c") == task.KeyedID("a", "bc") {
		t.Error("caller and key run into each other")
	}
}

func TestFailedKeyedDispatchResumesOnRepeat(t *testing.T) {
	for name, fault := range map[string]tasktest.Fault{
		"lost": tasktest.Lost, "refused": tasktest.Refused, "applied": tasktest.FailedButApplied,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.queue.Inject(tasktest.Dispatch, fault)
			_, err := r.keyed(t.Context(), t, "k", sendEmail)
			wantKind(t, err, task.Unavailable)
			id := err.(*task.Error).TaskID
			if doc := r.get(t, id); doc.State != task.StateQueued {
				t.Errorf("the record is %s, want QUEUED", doc.State)
			}
			a, err := r.keyed(t.Context(), t, "k", sendEmail)
			if err != nil || a.Task.ID != id || a.Replayed {
				t.Fatalf("repeated: %+v, %v", a, err)
			}
			for _, m := range r.queue.Held() {
				if m.ID != id {
					t.Errorf("a message for another task: %s", m.ID)
				}
			}
			if a, err := r.keyed(t.Context(), t, "k", sendEmail); err != nil || !a.Replayed {
				t.Errorf("repeated once more: %+v, %v", a, err)
			}
		})
	}
}

func TestDispatchIsExclusiveUntilItsDeadline(t *testing.T) {
	r := newRig(t)
	reached, release := r.queue.HoldBefore(tasktest.Dispatch)
	done := make(chan error)
	go func() {
		_, err := r.keyed(t.Context(), t, "k", sendEmail)
		done <- err
	}()
	<-reached
	_, err := r.keyed(t.Context(), t, "k", sendEmail)
	wantKind(t, err, task.InFlight)
	wait := err.(*task.Error).RetryAfter

	// The first request hangs; when its time is over, one of two takes over.
	r.advance(wait)
	hold, free := r.store.HoldBefore(tasktest.Replace)
	second := make(chan error)
	go func() {
		_, err := r.keyed(t.Context(), t, "k", sendEmail)
		second <- err
	}()
	<-hold
	if a, err := r.keyed(t.Context(), t, "k", sendEmail); err != nil || a.Replayed {
		t.Fatalf("taking over: %+v, %v", a, err)
	}
	free()
	wantKind(t, <-second, task.InFlight)

	release()
	if err := <-done; err != nil {
		t.Errorf("the first request, once it goes on: %v", err)
	}
	for _, m := range r.queue.Held() {
		if m.ID != task.KeyedID(call.Owner, "k") {
			t.Errorf("a message for another task: %s", m.ID)
		}
	}
}

func TestLostMarkIsStillAccepted(t *testing.T) {
	r := newRig(t)
	r.store.Inject(tasktest.Replace, tasktest.Lost)
	a, err := r.keyed(t.Context(), t, "k", sendEmail)
	if err != nil || a.Task.Dispatch.MessageID == nil {
		t.Fatalf("%+v, %v", a, err)
	}
	// Its worker's attempt is as good as the mark.
	r.must(t, a.Task.ID, started("d"))
	if again, err := r.keyed(t.Context(), t, "k", sendEmail); err != nil || !again.Replayed {
		t.Errorf("repeated: %+v, %v", again, err)
	}
}

func TestMarkNeverOverwritesANewerChange(t *testing.T) {
	r := newRig(t)
	r.queue.CancelRefs = true
	reached, release := r.queue.HoldAfter(tasktest.Dispatch)
	done := make(chan task.Outcome)
	go func() {
		a, err := r.keyed(t.Context(), t, "k", sendEmail)
		done <- task.Outcome{Accepted: a, Err: err}
	}()
	<-reached
	id := task.KeyedID(call.Owner, "k")
	if prevented, _, err := r.Cancel(t.Context(), call, id); !prevented || err != nil {
		t.Fatal(prevented, err)
	}
	release()
	if a := <-done; a.Err != nil || a.Task.State != task.StateCancelled {
		t.Errorf("answered %+v", a)
	}
	if n := len(r.queue.Held()); n != 0 {
		t.Errorf("%d messages of the cancelled task were left", n)
	}
}

func TestRepeatedRequestIsAnsweredThoughNowInvalid(t *testing.T) {
	r := newRig(t)
	body := `{"task_name":"t","expires_at":"2026-11-23T09:05:00Z"}`
	a, err := r.keyed(t.Context(), t, "k", body)
	if err != nil {
		t.Fatal(err)
	}
	r.advance(time.Hour)
	again, err := r.keyed(t.Context(), t, "k", body)
	if err != nil || !again.Replayed || again.Task.ID != a.Task.ID {
		t.Errorf("%+v, %v", again, err)
	}
	_, err = r.keyed(t.Context(), t, "other", body)
	wantKind(t, err, task.InvalidTask)
}

func TestKeyIsFreeAfterItsRecordsLife(t *testing.T) {
	r := newRig(t)
	a, err := r.keyed(t.Context(), t, "k", sendEmail)
	if err != nil {
		t.Fatal(err)
	}
	r.must(t, a.Task.ID, started("d"))
	r.must(t, a.Task.ID, succeeded(1, "1"))
	r.advance(resultTTL)
	_, err = r.Get(t.Context(), call, a.Task.ID, 0)
	wantKind(t, err, task.UnknownTask)
	b, err := r.keyed(t.Context(), t, "k", `{"task_name":"other"}`)
	if err != nil || b.Replayed || b.Task.State != task.StateQueued {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestOldMessageCannotReportOnTheNextTaskOfItsKey(t *testing.T) {
	r := newRig(t)
	a, err := r.keyed(t.Context(), t, "k", sendEmail)
	if err != nil {
		t.Fatal(err)
	}
	former, err := task.ParseMessage(r.queue.Take()[0].Body, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.must(t, a.Task.ID, started("d"))
	r.must(t, a.Task.ID, succeeded(1, "1"))
	r.advance(resultTTL)
	if _, err := r.keyed(t.Context(), t, "k", `{"task_name":"other"}`); err != nil {
		t.Fatal(err)
	}
	for _, e := range []task.Event{started("d2"), {Type: task.EventDeadLettered}} {
		reporter, err := r.Reporter(a.Task.ID, former.Token)
		if err != nil {
			t.Fatal(err)
		}
		_, err = reporter.Report(t.Context(), e)
		wantKind(t, err, task.UnknownTask)
	}
	if doc := r.get(t, a.Task.ID); doc.State != task.StateQueued || doc.TaskName != "other" {
		t.Errorf("the next task is %s, %s", doc.TaskName, doc.State)
	}
}

func TestChangeIsNotAppliedToTheNextTaskOfAKey(t *testing.T) {
	r := newRig(t)
	a, err := r.keyed(t.Context(), t, "k", sendEmail)
	if err != nil {
		t.Fatal(err)
	}
	reached, release := r.store.HoldBefore(tasktest.Replace)
	done := make(chan error)
	go func() {
		_, _, err := r.Cancel(t.Context(), call, a.Task.ID)
		done <- err
	}()
	<-reached
	r.advance(40 * 24 * time.Hour)
	if _, err := r.keyed(t.Context(), t, "k", `{"task_name":"other"}`); err != nil {
		t.Fatal(err)
	}
	release()
	wantKind(t, <-done, task.UnknownTask)
	if doc := r.get(t, a.Task.ID); doc.State != task.StateQueued {
		t.Errorf("the next task is %s", doc.State)
	}
}
