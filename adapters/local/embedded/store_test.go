package embedded_test

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/core/task"
)

func TestConcurrentCreatesOfOneIDStoreOne(t *testing.T) {
	db := open(t, nil, embedded.Options{})
	q := dispatcher(db, 0)
	id, created := task.KeyedID("alice", "key"), atomic.Int32{}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			r := newRecord(time.Now().Add(time.Duration(i) * time.Second))
			r.ID = id
			existing, err := createAndDispatch(t.Context(), q, r, outgoing(id, time.Time{}))
			switch {
			case err != nil:
				t.Error(err)
			case existing == nil:
				created.Add(1)
			case existing.ID != id || existing.Revision != "1":
				t.Errorf("existing is %s at revision %s", existing.ID, existing.Revision)
			}
		})
	}
	wg.Wait()
	if created.Load() != 1 {
		t.Errorf("%d calls created the record", created.Load())
	}
	check(t, db.Acknowledge(t.Context(), claim(t, db)))
	nothingDue(t, db)
}

func TestConcurrentReplacesOfOneRevisionStoreOne(t *testing.T) {
	db := open(t, nil, embedded.Options{})
	r := newRecord(time.Now())
	_, err := db.Create(t.Context(), r)
	check(t, err)
	var wg sync.WaitGroup
	won := atomic.Int32{}
	for i := range 30 {
		wg.Go(func() {
			mine := *r
			mine.WorkerIDs = []string{fmt.Sprint(i)}
			switch err := db.Replace(t.Context(), &mine); {
			case err == nil:
				won.Add(1)
			case task.KindOf(err) != task.Conflict:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d replaces won", won.Load())
	}
}

func TestRecordIsUnchangedAfterReopening(t *testing.T) {
	fs := vfs.NewMem()
	db := open(t, fs, embedded.Options{})
	r := newRecord(time.Now())
	r.Metadata, r.Progress, r.MaxAttempts = map[string]string{"k": "v"}, &task.Progress{Fraction: 0.5, Message: "half"}, 3
	r.Keyed = &task.Keyed{Fingerprint: "f", Dispatched: true, DispatchUntil: task.At(time.Now())}
	_, err := db.Create(t.Context(), r)
	check(t, err)
	r.Status, r.ReturnValue = task.Successful, `{"x":1.10}`
	check(t, db.Replace(t.Context(), r))
	check(t, db.Close())

	got, err := open(t, fs, embedded.Options{}).Get(t.Context(), r.ID)
	check(t, err)
	if !reflect.DeepEqual(got, r) {
		t.Errorf("got  %+v\nwant %+v", got, r)
	}
}

func TestTooLargeRecordIsRefused(t *testing.T) {
	db := open(t, nil, embedded.Options{})
	r := newRecord(time.Now())
	r.Args = `["` + strings.Repeat("x", embedded.MaxRecordBytes) + `"]`
	if _, err := db.Create(t.Context(), r); task.KindOf(err) != task.Oversize {
		t.Errorf("create: %v", err)
	}
	if _, err := db.Get(t.Context(), r.ID); task.KindOf(err) != task.NotStored {
		t.Errorf("get: %v", err)
	}
	r.Args = `["` + strings.Repeat("x", embedded.MaxRecordBytes-2000) + `"]`
	_, err := db.Create(t.Context(), r)
	check(t, err)
}

func TestListingReturnsEveryMatchOnceNewestFirst(t *testing.T) {
	db := open(t, nil, embedded.Options{})
	start := time.Now()
	var want []string
	for i := range 2500 {
		r := newRecord(start.Add(time.Duration(i/2) * time.Second)) // two a second: the id decides
		if i%500 == 0 {
			r.Owner = "bob"
			want = append([]string{r.ID}, want...)
		}
		_, err := db.Create(t.Context(), r)
		check(t, err)
		if i%3 == 0 { // a write does not move the record
			r.Status = task.Running
			check(t, db.Replace(t.Context(), r))
		}
	}
	for _, limit := range []int{1, 2, 100} {
		for owner, count := range map[string]int{"": 2500, "bob": 5} {
			var got []string
			last := task.Position{EnqueuedAt: task.At(start.Add(time.Hour))}
			for q := (task.Query{Owner: owner, Limit: limit}); ; {
				page, err := db.List(t.Context(), q)
				check(t, err)
				for _, r := range page.Records {
					if p := r.Position(); p.EnqueuedAt.After(last.EnqueuedAt.Time) ||
						p.EnqueuedAt.Equal(last.EnqueuedAt.Time) && p.ID >= last.ID {
						t.Fatalf("%v comes after %v", p, last)
					}
					last = r.Position()
					got = append(got, r.ID)
				}
				if q.After = page.Next; q.After == (task.Position{}) {
					break
				}
			}
			if len(got) != count || owner == "bob" && !reflect.DeepEqual(got, want) {
				t.Errorf("limit %d owner %q: %d records, want %d", limit, owner, len(got), count)
			}
		}
	}
}
