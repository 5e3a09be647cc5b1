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

// mail is the queue of the tests.
var mail = embedded.Queue{Backend: "default", Name: "mail"}

// dispatcher returns the dispatcher of the tests' backend.
func dispatcher(db *embedded.DB, maxDeliveries int) *embedded.Dispatcher {
	return db.Dispatcher(mail.Backend, embedded.DispatcherOptions{MaxDeliveries: maxDeliveries})
}

// next claims the feed's next message, and waits for one until ctx ends.
func next(ctx context.Context, f *embedded.Feed) (embedded.Delivery, error) {
	for {
		if _, err := f.Wait(ctx); err != nil {
			return embedded.Delivery{}, err
		}
		ds, err := f.Claim(ctx, 1)
		if err != nil {
			return embedded.Delivery{}, err
		}
		if len(ds) > 0 {
			return ds[0], nil
		}
	}
}

// claim claims one message within a time that is long for a test.
func claim(t testing.TB, db *embedded.DB) embedded.Delivery {
	t.Helper()
	f := db.Feed(mail)
	defer f.Close()
	return claimFrom(t, f)
}

// claimDead claims the report of one dead letter.
func claimDead(t testing.TB, db *embedded.DB) embedded.Delivery {
	t.Helper()
	return claimFrom(t, db.DeadLetterFeed())
}

func claimFrom(t testing.TB, f *embedded.Feed) embedded.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	d, err := next(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// nothingDue checks that no message and no report can be claimed right now.
func nothingDue(t testing.TB, db *embedded.DB) {
	t.Helper()
	f := db.Feed(mail)
	defer f.Close()
	for _, f := range []*embedded.Feed{f, db.DeadLetterFeed()} {
		ds, err := f.Claim(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(ds) > 0 {
			t.Fatalf("delivery %d of %s (dead: %v), want none", ds[0].Count, ds[0].ID, ds[0].Dead)
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
