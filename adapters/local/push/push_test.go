package push_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/adapters/local/push"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/worker"
)

// A worker of core/worker is a Deliverer with a line of glue.
var _ = func(w *worker.Worker) push.Deliverer {
	return push.DelivererFunc(func(ctx context.Context, d embedded.Delivery) (push.Outcome, error) {
		o := w.Process(ctx, worker.Delivery{Body: d.Body, Attributes: d.Attributes})
		return push.Outcome{Acknowledge: o.Acknowledge, Delay: o.Delay}, nil
	})
}

// bed is a queue with a pusher on it, in a bubble whose clock is a fake.
type bed struct {
	t       *testing.T
	db      *embedded.DB
	queue   *embedded.Dispatcher
	worker  chan delivery // one receive is one running delivery
	reports chan delivery
	stop    func() // ends Run and waits for it
}

type delivery struct {
	embedded.Delivery
	at     time.Time
	ctx    context.Context
	answer chan push.Outcome
}

func start(t *testing.T, maxDeliveries int, p push.Pusher) *bed {
	db, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, db: db, queue: db.Dispatcher("default", embedded.DispatcherOptions{MaxDeliveries: maxDeliveries}), worker: make(chan delivery), reports: make(chan delivery)}
	p.DB, p.Worker, p.DeadLetters, p.Log = db, deliverer(b.worker), deliverer(b.reports), slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	return b
}

func (b *bed) close() {
	b.stop()
	if err := b.db.Close(); err != nil {
		b.t.Error(err)
	}
}

func (b *bed) enqueue() string {
	b.t.Helper()
	id := task.NewID()
	if _, err := b.queue.Dispatch(b.t.Context(), task.Outgoing{ID: id, Body: []byte(`{}`)}); err != nil {
		b.t.Fatal(err)
	}
	return id
}

// deliverer hands deliveries to the test, which answers them.
type deliverer chan delivery

func (c deliverer) Deliver(ctx context.Context, d embedded.Delivery) (push.Outcome, error) {
	answer := make(chan push.Outcome)
	c <- delivery{d, time.Now(), ctx, answer}
	return <-answer, errors.New("for the log")
}

func TestDeliveriesRunConcurrentlyUpToTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, 0, push.Pusher{Concurrency: 2})
		defer b.close()
		for range 3 {
			b.enqueue()
		}
		first, second := <-b.worker, <-b.worker
		synctest.Wait()
		select {
		case <-b.worker:
			t.Fatal("a third delivery runs")
		default:
		}
		first.answer <- push.Outcome{Acknowledge: true}
		third := <-b.worker
		second.answer <- push.Outcome{Acknowledge: true}
		third.answer <- push.Outcome{Acknowledge: true}
	})
}

func TestRetryDelayOfTheWorkerIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, 0, push.Pusher{})
		defer b.close()
		b.enqueue()
		first := <-b.worker
		first.answer <- push.Outcome{Delay: 7 * time.Second}
		second := <-b.worker
		if waited := second.at.Sub(first.at); waited < 7*time.Second || waited > 7*time.Second+2*time.Millisecond || second.Count != 2 {
			t.Errorf("delivery %d after %v", second.Count, waited)
		}
		second.answer <- push.Outcome{Acknowledge: true}
	})
}

func TestFailingMessageBacksOffThenBecomesADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, 12, push.Pusher{})
		defer b.close()
		id := b.enqueue()
		var last time.Time
		for count := 1; count <= 12; count++ {
			d := <-b.worker
			if most := min(5*time.Minute, time.Second<<max(count-2, 0)); count > 1 && d.at.Sub(last) > most+5*time.Millisecond {
				t.Errorf("delivery %d came after %v, want at most %v", count, d.at.Sub(last), most)
			}
			if d.Count != count || d.Dead {
				t.Errorf("delivery %+v, want count %d", d.Delivery, count)
			}
			last = d.at
			d.answer <- push.Outcome{}
		}
		for count := 1; count <= 3; count++ {
			d := <-b.reports
			if d.ID != id || !d.Dead || d.Count != count {
				t.Errorf("report %+v, want count %d", d.Delivery, count)
			}
			d.answer <- push.Outcome{Acknowledge: count == 3}
		}
		synctest.Wait()
		letters, err := b.db.DeadLetters(t.Context(), embedded.DeadLetter{}, 10)
		if err != nil || len(letters) != 1 || !letters[0].Reported || letters[0].Deliveries != 12 {
			t.Errorf("dead letters %+v: %v", letters, err)
		}
	})
}

func TestStopWaitsForRunningDeliveriesAndReleasesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, 0, push.Pusher{Grace: 3 * time.Second})
		b.enqueue()
		b.enqueue()
		quick, slow := <-b.worker, <-b.worker
		stopped := make(chan struct{})
		began := time.Now()
		go func() { b.stop(); close(stopped) }()
		synctest.Wait()
		late := b.enqueue() // not claimed any more
		quick.answer <- push.Outcome{Acknowledge: true}
		<-slow.ctx.Done()
		if waited := time.Since(began); waited != 3*time.Second {
			t.Errorf("the context ended after %v", waited)
		}
		slow.answer <- push.Outcome{}
		<-stopped

		left := map[string]int{}
		ds, err := b.db.Feed(embedded.Queue{Backend: "default"}).Claim(t.Context(), 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			left[d.ID] = d.Count
		}
		if len(left) != 2 || left[slow.ID] != 2 || left[late] != 1 {
			t.Errorf("left in the queue: %v", left)
		}
		if err := b.db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestClosedQueueEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() {
			p := push.Pusher{DB: db, Worker: make(deliverer), Log: slog.New(slog.DiscardHandler)}
			ended <- p.Run(t.Context())
		}()
		synctest.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, embedded.ErrClosed) {
			t.Errorf("Run: %v", err)
		}
	})
}
