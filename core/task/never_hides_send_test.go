package task_test

import (
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
)

// A 4xx says that nothing was sent. These tests repeat a keyed request whose
// message was sent, so that another answer than the record's would hide it.

const expiring = `{"task_name":"t","expires_at":"2026-11-23T09:00:10Z"}`

var rejected = tasktest.RefusedWith(task.Errorf(task.MessageRejected, "never"))

func TestRepeatedRequestGetsItsExpiredTask(t *testing.T) {
	r := newRig(t)
	r.queue.Inject(tasktest.Dispatch, tasktest.FailedButApplied)
	r.store.Inject(tasktest.Replace, tasktest.Lost) // as after a crash, the dispatch is not free
	_, err := r.keyed(t.Context(), t, "k", expiring)
	wantKind(t, err, task.Unavailable)

	r.advance(11 * time.Second)
	_, err = r.keyed(t.Context(), t, "k", expiring)
	wantKind(t, err, task.InFlight)
	r.advance(err.(*task.Error).RetryAfter)
	a, err := r.keyed(t.Context(), t, "k", expiring)
	if err != nil || !a.Replayed || a.Task.State != task.StateExpired {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestUnreadableStoreIsNotReportedAsInvalidRequest(t *testing.T) {
	r := newRig(t)
	if _, err := r.keyed(t.Context(), t, "k", expiring); err != nil {
		t.Fatal(err)
	}
	r.advance(11 * time.Second)
	r.store.Inject(tasktest.Get, tasktest.Refused)
	_, err := r.keyed(t.Context(), t, "k", expiring)
	wantKind(t, err, task.Unavailable)
}

func TestRequestForbiddenByNewSettingsMayHaveBeenSent(t *testing.T) {
	r := newRig(t)
	r.queue.Inject(tasktest.Dispatch, tasktest.FailedButApplied)
	_, err := r.keyed(t.Context(), t, "k", sendEmail)
	wantKind(t, err, task.Unavailable)
	id := err.(*task.Error).TaskID

	r.Backends = map[string]task.Backend{"other": r.Backends["default"]}
	_, err = r.keyed(t.Context(), t, "k", sendEmail)
	wantKind(t, err, task.Unavailable)
	r.must(t, id, started("d")) // it was
	if a, err := r.keyed(t.Context(), t, "k", sendEmail); err != nil || !a.Replayed || a.Task.State != task.StateRunning {
		t.Errorf("%+v, %v", a, err)
	}
	_, err = r.keyed(t.Context(), t, "other", sendEmail)
	wantKind(t, err, task.UnknownBackend)
}

func TestRefusalDoesNotEndAStartedTask(t *testing.T) {
	r := newRig(t)
	r.queue.Inject(tasktest.Dispatch, tasktest.FailedButApplied, rejected)
	_, err := r.keyed(t.Context(), t, "k", sendEmail)
	wantKind(t, err, task.Unavailable)
	id := err.(*task.Error).TaskID

	reached, release := r.queue.HoldBefore(tasktest.Dispatch)
	done := make(chan task.Outcome)
	go func() {
		a, err := r.keyed(t.Context(), t, "k", sendEmail)
		done <- task.Outcome{Accepted: a, Err: err}
	}()
	<-reached
	r.must(t, id, started("d"))
	release()
	if a := <-done; a.Err != nil || !a.Replayed || a.Task.State != task.StateRunning {
		t.Errorf("%+v", a)
	}
	r.must(t, id, succeeded(1, "1"))
}

func TestRefusalThatIsNotStoredIsUnavailable(t *testing.T) {
	r := newRig(t)
	r.queue.Inject(tasktest.Dispatch, rejected, rejected)
	r.store.Inject(tasktest.Replace, tasktest.Refused)
	_, err := r.keyed(t.Context(), t, "k", sendEmail)
	wantKind(t, err, task.Unavailable)
	r.advance(time.Minute)
	_, err = r.keyed(t.Context(), t, "k", sendEmail)
	wantKind(t, err, task.MessageRejected)
}
