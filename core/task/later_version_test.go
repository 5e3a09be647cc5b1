package task_test

import (
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// TestRecordOfALaterVersionIsShownAndNotEnded: during an upgrade two versions
// run side by side. The older one cannot know what ending a newer record takes.
func TestRecordOfALaterVersionIsShownAndNotEnded(t *testing.T) {
	r := newRig(t)
	id := r.enqueue(t, `{"task_name":"t","expires_at":"2026-11-23T09:05:00Z"}`).ID
	rec, err := r.store.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	rec.Schema = task.SchemaVersion + 1
	if err := r.store.Replace(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	refused := func(what string, err error) {
		t.Helper()
		if wantKind(t, err, task.Unavailable); err.(*task.Error).RetryAfter <= 0 {
			t.Errorf("%s: no Retry-After", what)
		}
	}
	_, err = r.report(t.Context(), id, task.Event{Type: task.EventDeadLettered})
	refused("a dead letter", err)
	_, _, err = r.Cancel(t.Context(), call, id)
	refused("a cancel", err)
	r.advance(10 * time.Minute) // it has expired, and a later version will say so
	if doc := r.get(t, id); doc.State != task.StateQueued {
		t.Errorf("reading it has made it %s", doc.State)
	}
	listing, err := r.List(t.Context(), call, task.Filter{}, 10, "")
	if err != nil || len(listing.Items) != 1 || listing.Items[0].State != task.StateQueued {
		t.Errorf("listing it has made it %+v, %v", listing.Items, err)
	}
	if now, err := r.store.Get(t.Context(), id); err != nil || now.Revision != rec.Revision {
		t.Errorf("it was written: %v", err)
	}

	// A running attempt keeps its lease. Its end is left to the later version.
	r.must(t, id, started("d"))
	r.must(t, id, task.Event{Type: task.EventHeartbeat, Attempt: 1})
	_, err = r.report(t.Context(), id, succeeded(1, "1"))
	refused("a success", err)
	if doc := r.get(t, id); doc.State != task.StateRunning {
		t.Errorf("it is %s", doc.State)
	}
}
