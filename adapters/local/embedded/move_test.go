package embedded_test

import (
	"context"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/core/task"
)

// bed is a database with a clock that the test moves, and workers that fetch.
type bed struct {
	*testing.T
	fs    *vfs.MemFS
	db    *embedded.DB
	queue *embedded.Dispatcher
	now   time.Time
}

func newBed(t *testing.T, maxDeliveries int) *bed {
	b := &bed{T: t, fs: vfs.NewCrashableMem(), now: time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)}
	b.open(maxDeliveries)
	return b
}

func (b *bed) open(maxDeliveries int) {
	b.db = open(b.T, b.fs, embedded.Options{Now: func() time.Time { return b.now }, SweepEvery: -1})
	b.queue = b.db.Dispatcher(mail.Backend, embedded.DispatcherOptions{MaxDeliveries: maxDeliveries, Receive: true})
}

// crash goes on with what was on disk.
func (b *bed) crash(maxDeliveries int) {
	b.fs = b.fs.CrashClone(vfs.CrashCloneCfg{})
	b.open(maxDeliveries)
}

func (b *bed) enqueue() string {
	b.Helper()
	r := newRecord(b.now)
	if existing, err := createAndDispatch(b.Context(), b.queue, r, outgoing(r.ID, time.Time{})); err != nil || existing != nil {
		b.Fatal(existing, err)
	}
	return r.ID
}

// receive returns how often the one message that is due was delivered, 0 = none is.
func (b *bed) receive() int {
	b.Helper()
	ms, err := b.queue.Receive(b.Context(), mail.Name, 10, 45*time.Second, 0)
	check(b, err)
	if len(ms) == 0 {
		return 0
	}
	if len(ms) > 1 {
		b.Fatalf("%d messages are due", len(ms))
	}
	return ms[0].Deliveries
}

// receivable checks that the message is due exactly at this time from now.
func (b *bed) receivable(after time.Duration, delivery int) {
	b.Helper()
	b.now = b.now.Add(after - time.Microsecond)
	if n := b.receive(); n != 0 {
		b.Fatalf("delivery %d came before %v", n, after)
	}
	b.now = b.now.Add(time.Microsecond)
	if n := b.receive(); n != delivery {
		b.Fatalf("delivery %d after %v, want %d", n, after, delivery)
	}
}

func (b *bed) move(id string, m task.Move, lease time.Duration) {
	b.Helper()
	r, err := b.db.Get(b.Context(), id)
	check(b, err)
	if lease > 0 {
		r.LeaseUntil = task.At(b.now.Add(lease))
	}
	check(b, b.db.ReplaceAndMove(b.Context(), r, m))
}

func TestReceivedMessageIsRedeliveredAfterItsVisibilityAndACrash(t *testing.T) {
	b := newBed(t, 3)
	b.enqueue()
	if n := b.receive(); n != 1 {
		t.Fatalf("delivery %d, want 1", n)
	}
	b.crash(3)
	b.receivable(45*time.Second, 2)
	b.crash(3)
	b.receivable(45*time.Second, 3)
	b.now = b.now.Add(45 * time.Second)
	if n := b.receive(); n != 0 {
		t.Fatalf("delivery %d of 3", n)
	}
	if d := claimDead(t, b.db); !d.Dead {
		t.Errorf("%+v is not a dead letter", d)
	}
}

func TestLeaseNeverShortensTheVisibility(t *testing.T) {
	b := newBed(t, 0)
	id := b.enqueue()
	b.receive()
	b.move(id, task.MoveStarted, 10*time.Second) // less than the visibility of 45 s
	b.now = b.now.Add(40 * time.Second)
	if n := b.receive(); n != 0 {
		t.Fatal("the lease has shortened the visibility")
	}
	b.move(id, task.MoveLeased, 100*time.Second)
	b.crash(0)
	b.receivable(100*time.Second, 2)
}

func TestRetryableFailureReleasesTheMessageWithBackoff(t *testing.T) {
	b := newBed(t, 2)
	id := b.enqueue()
	b.receive()
	b.move(id, task.MoveStarted, time.Hour)
	b.move(id, task.MoveRetry, 0)
	b.crash(2)
	b.now = b.now.Add(time.Second + time.Millisecond) // the backoff after the first delivery is at most this
	if n := b.receive(); n != 2 {
		t.Fatalf("delivery %d after the backoff, want 2", n)
	}
	b.move(id, task.MoveRetry, 0) // the last delivery that it may have
	if d := claimDead(t, b.db); d.ID != id {
		t.Errorf("claimed %+v", d)
	}
}

func TestReturnedMessageIsDueAtOnceAndItsDeliveryDoesNotCount(t *testing.T) {
	b := newBed(t, 2)
	id := b.enqueue()
	for range 5 {
		if n := b.receive(); n != 1 {
			t.Fatalf("delivery %d, want 1", n)
		}
		b.move(id, task.MoveReleased, 0)
		b.crash(2)
	}
}

func TestEndOfATaskRemovesItsMessageInTheSameCommit(t *testing.T) {
	b := newBed(t, 0)
	id := b.enqueue()
	b.receive()
	b.move(id, task.MoveStarted, 10*time.Second)
	before := b.fs.CrashClone(vfs.CrashCloneCfg{})
	r, err := b.db.Get(t.Context(), id)
	check(t, err)
	r.Status = task.Successful
	check(t, b.db.ReplaceAndMove(t.Context(), r, task.MoveDone))

	for name, c := range map[string]struct {
		fs         *vfs.MemFS
		status     string
		deliveries int
	}{
		"before": {before, task.Ready, 2},
		"after":  {b.fs, task.Successful, 0},
	} {
		b.fs = c.fs
		b.crash(0)
		r, err := b.db.Get(t.Context(), id)
		check(t, err)
		b.now = b.now.Add(time.Hour)
		if n := b.receive(); n != c.deliveries || r.Status != c.status {
			t.Errorf("a crash %s the commit: %s, delivery %d", name, r.Status, n)
		}
	}
}

func TestUndeliveredMessageIsNotMovedSooner(t *testing.T) {
	b := newBed(t, 0)
	r := newRecord(b.now)
	_, err := createAndDispatch(t.Context(), b.queue, r, outgoing(r.ID, b.now.Add(time.Hour)))
	check(t, err)
	for _, m := range []task.Move{task.MoveStarted, task.MoveRetry, task.MoveReleased} {
		b.move(r.ID, m, time.Second)
	}
	b.receivable(time.Hour, 1)
}

func TestConflictingReplaceDoesNotMoveTheMessage(t *testing.T) {
	b := newBed(t, 0)
	id := b.enqueue()
	b.receive()
	old, err := b.db.Get(t.Context(), id)
	check(t, err)
	b.move(id, task.MoveStarted, 100*time.Second)
	for _, m := range []task.Move{task.MoveReleased, task.MoveRetry, task.MoveDone} {
		if err := b.db.ReplaceAndMove(t.Context(), old, m); task.KindOf(err) != task.Conflict {
			t.Fatalf("replace of an old revision: %v", err)
		}
	}
	b.receivable(100*time.Second, 2)
}

func TestDeadLetterIsKeptAfterTheEndOfItsTask(t *testing.T) {
	b := newBed(t, 1)
	id := b.enqueue()
	b.receive()
	b.move(id, task.MoveRetry, 0)
	b.move(id, task.MoveDone, 0) // the report that it died
	r, err := b.db.Get(t.Context(), id)
	check(t, err)
	check(t, b.db.RemoveMessage(t.Context(), r))
	letters, err := b.db.DeadLetters(t.Context(), embedded.DeadLetter{}, 10)
	check(t, err)
	if len(letters) != 1 || !letters[0].Reported || letters[0].Queue != mail {
		t.Errorf("dead letters: %+v", letters)
	}
	if ds, err := b.db.DeadLetterFeed().Claim(t.Context(), 1); err != nil || len(ds) > 0 {
		t.Errorf("reported again: %+v, %v", ds, err)
	}
}

func TestRemoveMessageKeepsTheMessageOfANewTaskWithTheID(t *testing.T) {
	b := newBed(t, 0)
	former, err := b.db.Get(t.Context(), b.enqueue())
	check(t, err)
	next := newRecord(b.now.Add(time.Second))
	next.ID, next.Revision = former.ID, former.Revision
	check(t, b.db.Replace(t.Context(), next))
	_, err = b.queue.Dispatch(t.Context(), outgoing(next.ID, time.Time{}))
	check(t, err)
	check(t, b.db.RemoveMessage(t.Context(), former))
	if n := b.receive(); n != 1 {
		t.Error("the new task's message is gone")
	}
	check(t, b.db.RemoveMessage(t.Context(), next))
	b.now = b.now.Add(time.Hour)
	if n := b.receive(); n != 0 {
		t.Error("the message is still there")
	}
}

func TestReceiveWaitsForTheFirstMessageAndLimitsTheBytes(t *testing.T) {
	db := open(t, nil, embedded.Options{})
	q := dispatcher(db, 0)
	got := make(chan []task.Received)
	go func() {
		ms, err := q.Receive(t.Context(), mail.Name, 32, time.Minute, 20*time.Second)
		if err != nil {
			t.Error(err)
		}
		got <- ms
	}()
	enqueue(t, q, time.Time{})
	if ms := <-got; len(ms) != 1 || ms[0].Attributes[task.AttributeTaskName] != "send_email" {
		t.Fatalf("received %+v", ms)
	}
	if ms, err := q.Receive(t.Context(), mail.Name, 1, time.Minute, 10*time.Millisecond); err != nil || len(ms) != 0 {
		t.Errorf("of an empty queue: %+v, %v", ms, err)
	}
	for range 4 { // of 2 MiB less a little each, two fit into 4 MiB
		m := outgoing(task.NewID(), time.Time{})
		m.Body = append(m.Body, make([]byte, embedded.MaxMessageBytes-len(m.Body)-100)...)
		_, err := q.Dispatch(t.Context(), m)
		check(t, err)
	}
	for range 2 {
		ms, err := q.Receive(t.Context(), mail.Name, 32, time.Minute, 0)
		if err != nil || len(ms) != 2 {
			t.Errorf("%d messages, %v", len(ms), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.Receive(ctx, mail.Name, 1, time.Minute, time.Second); task.KindOf(err) != task.Unavailable {
		t.Errorf("for a request that has ended: %v", err)
	}
}

// TestBacklogInOneQueueCostsOtherQueuesNoReads counts what scans read.
func TestBacklogInOneQueueCostsOtherQueuesNoReads(t *testing.T) {
	db := open(t, nil, embedded.Options{})
	enqueueAll(t, dispatcher(db, 0), 2000)
	for _, other := range []embedded.Queue{{Backend: mail.Backend, Name: "other"}, {Backend: "other", Name: mail.Name}} {
		q := db.Dispatcher(other.Backend, embedded.DispatcherOptions{})
		m := outgoing(task.NewID(), time.Time{})
		m.Queue = other.Name
		_, err := q.Dispatch(t.Context(), m)
		check(t, err)
		before := embedded.Examined(db)
		for range 10 {
			ms, err := q.Receive(t.Context(), other.Name, 32, time.Minute, 0)
			check(t, err)
			for _, m := range ms {
				check(t, q.Cancel(t.Context(), task.Sent{ID: m.Attributes[task.AttributeTaskID]}))
			}
		}
		if read := embedded.Examined(db) - before; read > 2 {
			t.Errorf("%v: %d keys were read for one message", other, read)
		}
	}
}

func TestWatchersAreWokenByTheNextChange(t *testing.T) {
	db := open(t, nil, embedded.Options{SweepEvery: -1})
	r := newRecord(time.Now())
	_, err := db.Create(t.Context(), r)
	check(t, err)
	other := newRecord(time.Now())
	_, err = db.Create(t.Context(), other)
	check(t, err)
	first, stopFirst := db.Watch(r.ID)
	second, stopSecond := db.Watch(r.ID)
	defer stopSecond()
	unrelated, stopUnrelated := db.Watch(other.ID)
	defer stopUnrelated()
	stopFirst()
	stopFirst() // may be repeated
	check(t, db.Replace(t.Context(), r))
	select {
	case <-second:
	default:
		t.Error("a watcher was not woken")
	}
	select {
	case <-unrelated:
		t.Error("the watcher of another record was woken")
	default:
	}
	third, stopThird := db.Watch(r.ID)
	defer stopThird()
	select {
	case <-third:
		t.Error("a watcher was woken by a change before it came")
	default:
	}
	_ = first
}
