package embedded_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/core/task"
)

func TestMessageIsDeliveredUnchangedUntilAcknowledged(t *testing.T) {
	db := open(t, nil, embedded.Options{})
	id := enqueue(t, dispatcher(db, 0), time.Time{})
	want := outgoing(id, time.Time{})

	first := claim(t, db)
	if string(first.Body) != string(want.Body) || !reflect.DeepEqual(first.Attributes, want.Attributes) || first.Queue != mail || first.Count != 1 {
		t.Errorf("delivered %+v", first)
	}
	nothingDue(t, db)
	check(t, db.Release(t.Context(), first, 0))
	second := claim(t, db)
	if second.Count != 2 {
		t.Errorf("delivery %d, want 2", second.Count)
	}
	check(t, db.Acknowledge(t.Context(), first)) // an old delivery settles nothing
	check(t, db.Acknowledge(t.Context(), second))
	nothingDue(t, db)
}

func TestMessagesAreDeliveredInDueOrderAndNeverEarly(t *testing.T) {
	db := open(t, nil, embedded.Options{})
	q := dispatcher(db, 0)
	start := time.Now().Add(50 * time.Millisecond)
	due := map[string]time.Time{}
	for _, ms := range []int{7, 3, 5, 1, 4, 2, 6, 0} {
		at := start.Add(time.Duration(ms) * time.Millisecond)
		due[enqueue(t, q, at)] = at
	}
	var last time.Time
	for range due {
		d := claim(t, db)
		if late := time.Since(due[d.ID]); late < 0 || late > 5*time.Second {
			t.Errorf("%s is %v late", d.ID, late)
		}
		if due[d.ID].Before(last) {
			t.Errorf("due %v came after due %v", due[d.ID], last)
		}
		last = due[d.ID]
	}
}

func TestAnEarlierMessageWakesAWaitingClaim(t *testing.T) {
	db := open(t, nil, embedded.Options{})
	q := dispatcher(db, 0)
	enqueue(t, q, time.Now().Add(time.Hour))
	feed := db.Feed(mail)
	claimed := make(chan string)
	go func() {
		d, err := next(t.Context(), feed)
		if err != nil {
			t.Error(err)
		}
		claimed <- d.ID
	}()
	id := enqueue(t, q, time.Now().Add(10*time.Millisecond))
	select {
	case got := <-claimed:
		if got != id {
			t.Errorf("claimed %s, want %s", got, id)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the claim was not woken")
	}
}

func TestCancelledMessageIsNotDeliveredAndItsIDCanBeReused(t *testing.T) {
	db := open(t, nil, embedded.Options{})
	q := dispatcher(db, 0)
	id := enqueue(t, q, time.Time{})
	_, err := q.Dispatch(t.Context(), outgoing(id, time.Time{})) // dropped as a duplicate
	check(t, err)
	check(t, q.Cancel(t.Context(), task.Sent{ID: id}))
	check(t, q.Cancel(t.Context(), task.Sent{ID: id}))
	nothingDue(t, db)
	_, err = q.Dispatch(t.Context(), outgoing(id, time.Time{}))
	check(t, err)
	inFlight := claim(t, db)
	check(t, q.Cancel(t.Context(), task.Sent{ID: id}))
	_, err = q.Dispatch(t.Context(), outgoing(id, time.Time{}))
	check(t, err)
	check(t, db.Acknowledge(t.Context(), inFlight)) // not the new one's
	if d := claim(t, db); d.Count != 1 {
		t.Errorf("delivery %d of the new message", d.Count)
	}
}

func TestMessageOutOfDeliveriesBecomesADeadLetterAndIsReportedOnce(t *testing.T) {
	fs := vfs.NewMem()
	db := open(t, fs, embedded.Options{})
	id := enqueue(t, dispatcher(db, 2), time.Time{})
	check(t, db.Release(t.Context(), claim(t, db), 0))
	check(t, db.Release(t.Context(), claim(t, db), time.Hour)) // the last: no more delay
	d := claimDead(t, db)
	if d.ID != id || !d.Dead || d.Count != 1 {
		t.Fatalf("claimed %+v", d)
	}
	check(t, db.Release(t.Context(), d, 0)) // the report failed
	check(t, db.Close())

	db = open(t, fs, embedded.Options{})
	d = claimDead(t, db)
	if !d.Dead || d.Count != 2 {
		t.Fatalf("claimed %+v", d)
	}
	check(t, db.Acknowledge(t.Context(), d))
	nothingDue(t, db)
	letters, err := db.DeadLetters(t.Context(), embedded.DeadLetter{}, 10)
	check(t, err)
	if len(letters) != 1 || letters[0].ID != id || letters[0].Deliveries != 2 || !letters[0].Reported || len(letters[0].Body) == 0 {
		t.Errorf("dead letters %+v", letters)
	}
	if rest, err := db.DeadLetters(t.Context(), letters[0], 10); err != nil || len(rest) != 0 {
		t.Errorf("after the last: %v %v", rest, err)
	}
}

// TestNewTaskWithAnOldIDGetsItsOwnMessage: its record is past its life and
// not swept yet, and so is what its message has become.
func TestNewTaskWithAnOldIDGetsItsOwnMessage(t *testing.T) {
	for name, leave := range map[string]func(*testing.T, *embedded.DB){
		"still queued": func(*testing.T, *embedded.DB) {},
		"claimed":      func(t *testing.T, db *embedded.DB) { claim(t, db) },
		"a dead letter": func(t *testing.T, db *embedded.DB) {
			check(t, db.Release(t.Context(), claim(t, db), 0))
			check(t, db.Acknowledge(t.Context(), claimDead(t, db))) // the report that it died
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t, nil, embedded.Options{})
			q := dispatcher(db, 1)
			id := enqueue(t, q, time.Time{})
			leave(t, db)
			former, err := db.Get(t.Context(), id)
			check(t, err)
			next := newRecord(time.Now())
			next.ID, next.Revision = id, former.Revision
			check(t, db.Replace(t.Context(), next))
			m := outgoing(id, time.Time{})
			m.Body = []byte(`{"task_name":"next"}`)
			_, err = q.Dispatch(t.Context(), m)
			check(t, err)
			if d := claim(t, db); string(d.Body) != string(m.Body) || d.Dead || d.Count != 1 {
				t.Errorf("delivered %+v, %s", d, d.Body)
			}
			if letters, err := db.DeadLetters(t.Context(), embedded.DeadLetter{}, 10); err != nil || len(letters) != 0 {
				t.Errorf("dead letters %+v, %v", letters, err)
			}
		})
	}
}

func TestEndedContextStartsNothing(t *testing.T) {
	db := open(t, nil, embedded.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := newRecord(time.Now())
	if _, err := createAndDispatch(ctx, dispatcher(db, 0), r, outgoing(r.ID, time.Time{})); task.KindOf(err) != task.Unavailable {
		t.Errorf("create: %v", err)
	}
	if _, err := db.Get(t.Context(), r.ID); task.KindOf(err) != task.NotStored {
		t.Errorf("get: %v", err)
	}
}

// TestLargerPriorityComesFirst: strictly, and in the order of being due within one
// priority. It holds for pushes and for workers that fetch.
func TestLargerPriorityComesFirst(t *testing.T) {
	db := open(t, nil, embedded.Options{})
	q := db.Dispatcher(mail.Backend, embedded.DispatcherOptions{MaxDeliveries: 20, Receive: true})
	var want []string
	ids := map[int][]string{}
	for _, priority := range []int{0, -100, 7, 0, 100, -1, 7, -100} {
		r := newRecord(time.Now())
		m := outgoing(r.ID, time.Time{})
		m.Priority = priority
		if _, err := createAndDispatch(t.Context(), q, r, m); err != nil {
			t.Fatal(err)
		}
		ids[priority] = append(ids[priority], r.ID)
	}
	for _, priority := range []int{100, 7, 0, -1, -100} {
		want = append(want, ids[priority]...)
	}
	for i, id := range want[:4] {
		if d := claim(t, db); d.ID != id {
			t.Errorf("push %d is %s, want %s", i, d.ID, id)
		}
	}
	received, err := q.Receive(t.Context(), mail.Name, 10, time.Minute, 0)
	if err != nil || len(received) != len(want)-4 {
		t.Fatalf("%d messages are left, want %d: %v", len(received), len(want)-4, err)
	}
	for i, m := range received {
		if id := m.Attributes[task.AttributeTaskID]; id != want[4+i] {
			t.Errorf("message %d is %s, want %s", i, id, want[4+i])
		}
	}
}
