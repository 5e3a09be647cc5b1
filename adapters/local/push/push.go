// Package push delivers the messages of the embedded queue to a worker, many
// concurrently, and reports each outcome to the queue.
package push

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/taskgate/taskgate/adapters/local/embedded"
)

// DefaultConcurrency is the default maximum number of concurrent deliveries.
const DefaultConcurrency = 64

// DefaultGrace is how long [Pusher.Run] waits by default for running deliveries
// after its context has ended.
const DefaultGrace = 10 * time.Second

// reportsAtOnce is the maximum number of concurrent reports of dead letters.
const reportsAtOnce = 8

// maxRefusals is how often the worker may refuse one message while it accepts
// others. After that, the cause is probably the message and not a busy worker, so
// each further refusal counts as a delivery.
const maxRefusals = 100

// lastWait is how long Run waits for a delivery to end after its context has ended.
// After that Run returns without the outcome, and the next process delivers the
// message again.
const lastWait = 6 * time.Second

// Outcome is the result of a delivery.
type Outcome struct {
	Acknowledge bool          // the message is done; the other fields then have no meaning
	Busy        bool          // the worker was too busy to accept the message
	Delay       time.Duration // when to deliver the message again; 0 = at once if Busy, else the queue's backoff
}

// Deliverer delivers one message to a worker and returns the outcome. When ctx ends,
// the process is stopping and Deliver should return soon. The error says why the
// message is not acknowledged; the Pusher only logs the error.
type Deliverer interface {
	Deliver(ctx context.Context, d embedded.Delivery) (Outcome, error)
}

// DelivererFunc is a function that implements Deliverer.
type DelivererFunc func(ctx context.Context, d embedded.Delivery) (Outcome, error)

// Deliver implements [Deliverer].
func (f DelivererFunc) Deliver(ctx context.Context, d embedded.Delivery) (Outcome, error) {
	return f(ctx, d)
}

// Pusher delivers the messages of a database's queues to a worker. A push does not
// count as a delivery if the worker was too busy and no attempt started. Every
// other push without an acknowledgement counts.
type Pusher struct {
	DB          *embedded.DB
	Worker      Deliverer     // nil = nothing is pushed; workers fetch their messages
	DeadLetters Deliverer     // gets each dead letter until it acknowledges; nil = dead letters are not reported
	Concurrency int           // maximum number of concurrent deliveries; 0 = DefaultConcurrency
	Grace       time.Duration // how long Run waits for running deliveries at the end; 0 = DefaultGrace
	Log         *slog.Logger  // nil = slog.Default()
}

// Run pushes until ctx ends. Then it claims no more messages and waits for running
// deliveries until the grace is over. After the grace it ends the contexts of these
// deliveries, and releases the messages that are not acknowledged. Run returns early
// only when the database is closed.
func (p *Pusher) Run(ctx context.Context) error {
	delivering, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var feeding, running sync.WaitGroup
	feeding.Go(func() {
		reports := pool{p.DeadLetters, make(chan struct{}, reportsAtOnce), &running}
		p.feed(ctx, delivering, p.DB.DeadLetterFeed(), reports)
	})
	pushes := pool{p.Worker, make(chan struct{}, orElse(p.Concurrency, DefaultConcurrency)), &running}
	var err error
	for ctx.Err() == nil && !errors.Is(err, embedded.ErrClosed) {
		var f *embedded.Feed
		f, err = p.DB.NextFeed(ctx)
		if p.logAndPause(ctx, err) || p.Worker == nil {
			continue
		}
		feeding.Go(func() { p.feed(ctx, delivering, f, pushes) })
	}
	feeding.Wait()
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	if !within(done, orElse(p.Grace, DefaultGrace)) {
		end()
		if !within(done, lastWait) {
			p.log().Error("some deliveries did not end in time; their messages are delivered again after a restart")
		}
	}
	if errors.Is(err, embedded.ErrClosed) {
		return err
	}
	return nil
}

// logAndPause reports whether err is an error. It logs an error after which the
// caller tries again, and pauses for a second.
func (p *Pusher) logAndPause(ctx context.Context, err error) bool {
	if err != nil && ctx.Err() == nil && !errors.Is(err, embedded.ErrClosed) {
		p.log().Error("cannot read the queue", "error", err)
		within(ctx.Done(), time.Second)
	}
	return err != nil
}

// pool is a deliverer with a limit on its concurrent deliveries.
type pool struct {
	to      Deliverer       // nil = each message is acknowledged without a delivery
	slots   chan struct{}   // has one element for each delivery that runs or is about to
	running *sync.WaitGroup // the running deliveries
}

// feed delivers the messages of one queue until ctx ends, or until the queue is
// empty and its feed is dropped. All queues of a pool share the pool's slots.
func (p *Pusher) feed(ctx, delivering context.Context, f *embedded.Feed, workers pool) {
	pace := newPace(cap(workers.slots))
	for {
		more, err := f.Wait(ctx)
		if ctx.Err() != nil || errors.Is(err, embedded.ErrClosed) || err == nil && !more {
			return
		}
		if p.logAndPause(ctx, err) {
			continue
		}
		pace.wait(ctx)
		free := take(ctx, workers.slots, pace)
		ds, err := f.Claim(ctx, free)
		for range free - len(ds) {
			<-workers.slots
		}
		p.logAndPause(ctx, err)
		for _, d := range ds {
			run := pace.begin()
			workers.running.Go(func() {
				defer func() { <-workers.slots }()
				p.deliver(delivering, d, workers.to, run)
			})
		}
	}
}

// take waits for a free slot. It returns how many slots it has taken: as many as are
// free and as the pace allows. It returns 0 if ctx ends first.
func take(ctx context.Context, slots chan struct{}, pace *pace) (n int) {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	room, _, _ := pace.room() // the room may have changed during the wait for the slot
	for n = 1; n < room; n++ {
		select {
		case slots <- struct{}{}:
		default:
			return n
		}
	}
	if room == 0 {
		<-slots
		return 0
	}
	return n
}

// deliver makes one delivery and reports the outcome to the queue.
func (p *Pusher) deliver(ctx context.Context, d embedded.Delivery, to Deliverer, run *run) {
	log := p.log().With("task_id", d.ID, "queue", d.Name, "delivery", d.Count, "dead", d.Dead)
	if d.Dead && d.Count == 1 {
		log.Warn("dead letter")
	}
	o, err := Outcome{Acknowledge: true}, error(nil)
	if to != nil {
		o, err = delivered(ctx, d, to, run)
	}
	started := closed(d.Started())
	if o.Acknowledge || started {
		run.took()
	}
	detached := context.WithoutCancel(ctx)
	switch busy := o.Busy && !started && !d.Dead; {
	case o.Acknowledge:
		run.end()
		if err := p.DB.Acknowledge(detached, d); err != nil {
			log.Error("cannot remove the message from the queue; it may be delivered again", "error", err)
		}
		return
	case busy && d.Refusals < maxRefusals:
		counted := run.pace.takenSince(d.RefusedAt)
		if err := p.DB.Refuse(detached, d, o.Delay, counted); err != nil {
			log.Error("cannot return the message to the queue; it is delivered again after a restart", "error", err)
		}
		run.refused() // the refused message is in the queue again, behind the waiting ones
		log.Debug("the worker is busy", "again_in_seconds", o.Delay.Seconds())
		return
	case busy:
		run.refused()
	default:
		run.end()
	}
	if ctx.Err() != nil {
		o.Delay = 0 // the stop ended the delivery, so the next process delivers the message at once
	} else if o.Delay <= 0 {
		o.Delay = embedded.Backoff
	}
	log.Info("the worker did not acknowledge the message", "error", err)
	if err := p.DB.Release(detached, d, o.Delay); err != nil {
		log.Error("cannot release the message; it is delivered again after a restart", "error", err)
	}
}

// delivered calls the deliverer. It raises the pace when an attempt starts.
func delivered(ctx context.Context, d embedded.Delivery, to Deliverer, run *run) (Outcome, error) {
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-d.Started():
			run.took()
		case <-over:
		}
	}()
	return to.Deliver(ctx, d)
}

// closed reports whether c is closed; a nil channel is not.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (p *Pusher) log() *slog.Logger {
	if p.Log == nil {
		return slog.Default()
	}
	return p.Log
}

// within waits for done at most for the time d, and reports whether done was closed.
func within(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// orElse returns v, or the fallback if v is not positive.
func orElse[T int | time.Duration](v, fallback T) T {
	if v <= 0 {
		return fallback
	}
	return v
}
