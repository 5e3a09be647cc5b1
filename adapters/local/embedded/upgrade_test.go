package embedded_test

import (
	"os"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/core/task"
)

// TestDatabaseOfTheFirstLayoutIsUpgraded opens a database of layout 1, in
// which all queues shared one index. Tasks 1 and 2 are dead letters, and 1 is
// reported. Task 3 was delivered once. Task 4 is due. Task 5 is due in 2096. Task 6
// was cancelled.
func TestDatabaseOfTheFirstLayoutIsUpgraded(t *testing.T) {
	dir := t.TempDir()
	check(t, os.CopyFS(dir, os.DirFS("testdata/one-index")))
	id := func(n string) string { return "01936b5e-0000-7000-8000-00000000000" + n }
	for range 2 { // the second Open finds it upgraded
		db, err := embedded.Open(dir, embedded.Options{SweepEvery: -1})
		check(t, err)
		for queue, want := range map[embedded.Queue]struct {
			id    string
			count int
		}{
			{Backend: "default", Name: "mail"}: {id("4"), 1},
			{Backend: "other", Name: "mail"}:   {id("3"), 2},
		} {
			f := db.Feed(queue)
			ds, err := f.Claim(t.Context(), 10)
			check(t, err)
			if len(ds) != 1 || ds[0].ID != want.id || ds[0].Count != want.count || len(ds[0].Body) == 0 {
				t.Errorf("%v: claimed %+v, want delivery %d of %s", queue, ds, want.count, want.id)
			}
			for _, d := range ds { // as it was
				check(t, db.Refuse(t.Context(), d, 0, false))
			}
			f.Close()
		}
		letters, err := db.DeadLetters(t.Context(), embedded.DeadLetter{}, 10)
		check(t, err)
		if len(letters) != 2 || letters[0].ID != id("1") || !letters[0].Reported || letters[1].ID != id("2") || letters[1].Reported {
			t.Errorf("dead letters: %+v", letters)
		}
		r, err := db.Get(t.Context(), id("5"))
		if err != nil || r.Kwargs != `{"n":12345678901234567890}` {
			t.Errorf("record: %+v, %v", r, err)
		}
		check(t, db.Close())
	}
	db, err := embedded.Open(dir, embedded.Options{
		SweepEvery: -1, Now: func() time.Time { return time.Date(2097, 1, 1, 0, 0, 0, 0, time.UTC) },
	})
	check(t, err)
	defer db.Close()
	ms, err := db.Dispatcher("default", embedded.DispatcherOptions{}).Receive(t.Context(), "reports", 10, time.Minute, 0)
	if err != nil || len(ms) != 1 || ms[0].Attributes[task.AttributeTaskID] != id("5") {
		t.Errorf("the scheduled message: %+v, %v", ms, err)
	}
}

func TestDatabaseOfALaterLayoutIsRefused(t *testing.T) {
	dir := t.TempDir()
	db, err := embedded.Open(dir, embedded.Options{})
	check(t, err)
	check(t, db.Close())
	raw, err := pebble.Open(dir, &pebble.Options{FormatMajorVersion: pebble.FormatTableFormatV6})
	check(t, err)
	check(t, raw.Set([]byte("v"), []byte{99}, pebble.Sync))
	check(t, raw.Close())
	if _, err := embedded.Open(dir, embedded.Options{}); err == nil {
		t.Error("it was opened")
	}
}
