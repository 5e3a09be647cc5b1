package task_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// countingStore counts the reads of single records, each of which takes a
// millisecond and what slow says.
type countingStore struct {
	task.Store
	gets atomic.Int64
	slow atomic.Int64 // nanoseconds
}

func (s *countingStore) Get(ctx context.Context, id string) (*task.Record, error) {
	s.gets.Add(1)
	slow := time.Duration(s.slow.Load())
	r, err := s.Store.Get(ctx, id)
	time.Sleep(time.Millisecond + slow) // the bubble's clock: what was read is old by now
	return r, err
}

// watchedStore is a countingStore that tells when a record changes.
type watchedStore struct {
	countingStore
	mu      sync.Mutex
	watches map[string]chan struct{}
}

func (s *watchedStore) Watch(id string) (<-chan struct{}, func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watches == nil {
		s.watches = map[string]chan struct{}{}
	}
	if s.watches[id] == nil {
		s.watches[id] = make(chan struct{})
	}
	return s.watches[id], func() {}
}

func (s *watchedStore) Replace(ctx context.Context, r *task.Record) error {
	err := s.Store.Replace(ctx, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.watches[r.ID]; err == nil && c != nil {
		close(c)
		delete(s.watches, r.ID)
	}
	return err
}

// waitAll makes n requests wait for a task, each of them after a pause, and
// returns their readings.
func waitAll(t *testing.T, r *rig, id string, n int, apart time.Duration) []*task.Reading {
	t.Helper()
	readings := make([]*task.Reading, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var err error
			if readings[i], err = r.Get(t.Context(), call, id, 20*time.Second); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(apart)
	}
	wg.Wait()
	return readings
}

func TestAWaitOf20SecondsReadsAtMost12Times(t *testing.T) {
	for range 20 { // the pauses are random
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			store := &countingStore{Store: r.store}
			r.Now, r.Store = time.Now, store
			id := r.enqueue(t, sendEmail).ID
			store.gets.Store(0)
			waitAll(t, r, id, 1, 0)
			if n := store.gets.Load(); n > 12 {
				t.Errorf("%d reads", n)
			}
		})
	}
}

func TestRequestsThatWaitForOneTaskShareItsReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		store := &countingStore{Store: r.store}
		r.Now, r.Store = time.Now, store
		id := r.enqueue(t, sendEmail).ID
		store.gets.Store(0)
		readings := waitAll(t, r, id, 400, 0)
		if n := store.gets.Load(); n > 16 {
			t.Errorf("400 requests at once: %d reads", n)
		}
		distinct := map[*task.Reading]bool{}
		for _, reading := range readings {
			distinct[reading] = true
		}
		if len(distinct) > 3 {
			t.Errorf("400 requests hold %d copies of the document", len(distinct))
		}
		store.gets.Store(0)
		waitAll(t, r, id, 40, 100*time.Millisecond)
		// Each request needs a read when it comes, soon after it, and when its time is
		// up. The others are shared.
		if n := store.gets.Load(); n > 40*3+12 {
			t.Errorf("40 requests, one after the other: %d reads", n)
		}
	})
}

func TestAWaitIsServedByNoReadThatBeganBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		store := &countingStore{Store: r.store}
		r.Now, r.Store = time.Now, store
		id := r.enqueue(t, sendEmail).ID
		store.slow.Store(int64(20 * time.Millisecond))
		go func() { _, _ = r.Get(t.Context(), call, id, 20*time.Second) }()
		time.Sleep(500 * time.Microsecond) // its first read is under way, and has seen the old record
		store.slow.Store(0)
		r.must(t, id, started("d"))
		r.must(t, id, succeeded(1, "42"))
		begin := time.Now()
		reading, err := r.Get(t.Context(), call, id, 20*time.Second)
		if err != nil || string(reading.ReturnValue) != "42" || time.Since(begin) > 30*time.Millisecond {
			t.Errorf("%+v after %v, %v", reading, time.Since(begin), err)
		}
		synctest.Wait()
	})
}

func TestAWatchedTaskIsReadOnlyWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		store := &watchedStore{countingStore: countingStore{Store: r.store}}
		r.Now, r.Store = time.Now, store
		id := r.enqueue(t, `{"task_name":"t"}`).ID
		store.gets.Store(0)
		waitAll(t, r, id, 100, 0)
		if n := store.gets.Load(); n > 4 {
			t.Errorf("nothing changed, and there were %d reads", n)
		}
		start := time.Now()
		time.AfterFunc(7*time.Second, func() {
			r.must(t, id, started("d"))
			r.must(t, id, succeeded(1, "42"))
		})
		for _, reading := range waitAll(t, r, id, 100, 0) {
			if string(reading.ReturnValue) != "42" {
				t.Fatalf("%+v", reading)
			}
		}
		if took := time.Since(start); took > 7*time.Second+20*time.Millisecond {
			t.Errorf("the end of the task woke its waiters after %v", took-7*time.Second)
		}
		// What time alone decides wakes them, too.
		expiring := r.enqueue(t, `{"task_name":"t","expires_at":"`+time.Now().Add(5*time.Second).Format(time.RFC3339)+`"}`).ID
		start = time.Now()
		if reading := waitAll(t, r, expiring, 1, 0)[0]; reading.State != task.StateExpired || time.Since(start) > 6*time.Second {
			t.Errorf("%s after %v", reading.State, time.Since(start))
		}
	})
}

func TestAWaitThatEndsDoesNotEndTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		store := &countingStore{Store: r.store}
		r.Now, r.Store = time.Now, store
		id := r.enqueue(t, sendEmail).ID
		ctx, hangUp := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { _, _ = r.Get(ctx, call, id, 20*time.Second) })
			wg.Go(func() {
				if reading, err := r.Get(t.Context(), call, id, 3*time.Second); err != nil || reading.State != task.StateQueued {
					t.Errorf("%+v, %v", reading, err)
				}
			})
		}
		time.Sleep(500 * time.Microsecond)
		hangUp()
		wg.Wait()
	})
}

func TestWaitOnAnotherOwnersTaskFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.Now = time.Now
		id := r.enqueue(t, sendEmail).ID
		start := time.Now()
		_, err := r.Get(t.Context(), task.Call{Owner: "stranger"}, id, 20*time.Second)
		if task.KindOf(err) != task.UnknownTask || time.Since(start) > time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestAReadingIsRenderedOnce(t *testing.T) {
	r := newRig(t)
	id := r.enqueue(t, sendEmail).ID
	reading, err := r.Get(t.Context(), call, id, 0)
	if err != nil {
		t.Fatal(err)
	}
	first, sum, err := reading.Render()
	again, same, _ := reading.Render()
	if err != nil || !strings.HasSuffix(string(first), "}\n") || &first[0] != &again[0] || sum != same {
		t.Errorf("%s, %v", first, err)
	}
}
