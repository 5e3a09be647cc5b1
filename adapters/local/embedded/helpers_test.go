package embedded_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/core/task"
)

// open opens a database for the length of the test; a nil fs is a new memory.
func open(t testing.TB, fs vfs.FS, o embedded.Options) *embedded.DB {
	t.Helper()
	if fs == nil {
		fs = vfs.NewMem()
	}
	o.FS = fs
	db, err := embedded.Open("data", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// newRecord returns a record as the service makes one.
func newRecord(enqueuedAt time.Time) *task.Record {
	return &task.Record{
		ID: task.NewID(), TaskName: "send_email", Status: task.Ready, EnqueuedAt: task.At(enqueuedAt),
		Args: `["a@b.c"]`, Kwargs: `{"n":12345678901234567890}`, Backend: "default", QueueName: "mail", Owner: "alice",
		Dispatch: task.Dispatch{Target: "local", Route: embedded.Route}, DeleteAfter: task.At(enqueuedAt.Add(24 * time.Hour)),
	}
}

func outgoing(id string, due time.Time) task.Outgoing {
	m := task.Outgoing{
		ID: id, Queue: "mail", Route: embedded.Route,
		Body:       fmt.Appendf(nil, `{"task_name":"send_email","args":["é\n"],"id":%q}`, id),
		Attributes: map[string]string{task.AttributeTaskID: id, task.AttributeTaskName: "send_email"},
	}
	if !due.IsZero() {
		m.Due = task.At(due)
	}
	return m
}

// enqueue creates a task and its message, due at once unless due says when.
func enqueue(t testing.TB, q *embedded.Dispatcher, due time.Time) string {
	t.Helper()
	r := newRecord(time.Now())
	if existing, err := createAndDispatch(t.Context(), q, r, outgoing(r.ID, due)); err != nil || existing != nil {
		t.Fatal(existing, err)
	}
	return r.ID
}

// enqueueAll creates n tasks and their messages in one call.
func enqueueAll(t testing.TB, q *embedded.Dispatcher, n int) (ids []string) {
	t.Helper()
	entries := make([]task.Entry, n)
	for i := range entries {
		r := newRecord(time.Now())
		entries[i] = task.Entry{Record: r, Message: outgoing(r.ID, time.Time{})}
		ids = append(ids, r.ID)
	}
	for _, result := range q.CreateAndDispatch(t.Context(), entries) {
		if result.Err != nil || result.Existing != nil {
			t.Fatal(result)
		}
	}
	return ids
}

// createAndDispatch does so for one entry.
func createAndDispatch(ctx context.Context, q *embedded.Dispatcher, r *task.Record, m task.Outgoing) (existing *task.Record, err error) {
	result := q.CreateAndDispatch(ctx, []task.Entry{{Record: r, Message: m}})[0]
	return result.Existing, result.Err
}

// claim claims one message within a time that is long for a test.
func claim(t testing.TB, db *embedded.DB) embedded.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ds, err := db.Claim(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	return ds[0]
}

// nothingDue checks that no message can be claimed right now.
func nothingDue(t testing.TB, db *embedded.DB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if ds, err := db.Claim(ctx, 1); err == nil {
		t.Fatalf("delivery %d of %s, want none", ds[0].Count, ds[0].ID)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
