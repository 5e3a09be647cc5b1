package embedded_test

import (
	"testing"
	"time"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/core/task"
)

func TestSweepDeletesOnlyExpiredTasks(t *testing.T) {
	clock := time.Now()
	db := open(t, nil, embedded.Options{Now: func() time.Time { return clock }, SweepEvery: -1})
	q := dispatcher(db, 1)
	dead := enqueue(t, q, time.Time{})
	check(t, db.Release(t.Context(), claim(t, db), 0))
	check(t, db.Acknowledge(t.Context(), claimDead(t, db)))
	queued := enqueue(t, q, time.Now().Add(time.Hour))
	kept := newRecord(clock)
	_, err := db.Create(t.Context(), kept)
	check(t, err)
	kept.DeleteAfter = kept.DeleteAfter.Plus(time.Hour)
	check(t, db.Replace(t.Context(), kept))

	clock = clock.Add(24*time.Hour + time.Minute)
	if n, err := db.Sweep(t.Context()); err != nil || n != 2 {
		t.Fatalf("swept %d: %v", n, err)
	}
	for _, id := range []string{dead, queued} {
		if _, err := db.Get(t.Context(), id); task.KindOf(err) != task.NotStored {
			t.Errorf("get: %v", err)
		}
	}
	_, err = db.Get(t.Context(), kept.ID)
	check(t, err)
	nothingDue(t, db)
	if letters, err := db.DeadLetters(t.Context(), embedded.DeadLetter{}, 10); err != nil || len(letters) != 0 {
		t.Errorf("dead letters %v: %v", letters, err)
	}
	page, err := db.List(t.Context(), task.Query{Limit: 10})
	if err != nil || len(page.Records) != 1 {
		t.Errorf("listed %v: %v", page, err)
	}
}
