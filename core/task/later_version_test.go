package task_test

import (
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// TestRecordOfALaterVersionIsShownAndNotChanged: during an upgrade two versions
// run side by side. The older one cannot know what ending a newer record takes.
func TestRecordOfALaterVersionIsShownAndNotChanged(t *testing.T) {
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
	for what, change := range map[string]func() error{
		"a start": func() error { _, err := r.report(t.Context(), id, started("d")); return err },
		"a dead letter": func() error {
			_, err := r.report(t.Context(), id, task.Event{Type: task.EventDeadLettered})
			return err
		},
		"a cancel": func() error { _, _, err := r.Cancel(t.Context(), call, id); return err },
	} {
		err := change()
		if wantKind(t, err, task.Unavailable); err.(*task.Error).RetryAfter <= 0 {
			t.Errorf("%s: no Retry-After", what)
		}
	}
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
}
