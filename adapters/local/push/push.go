// Package push hands the messages of the embedded queue to a worker, many at
// once, and tells the queue what became of each.
package push

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/taskgate/taskgate/adapters/local/embedded"
)

// DefaultConcurrency is how many deliveries run at once unless told otherwise.
const DefaultConcurrency = 64

// DefaultGrace is how long [Pusher.Run] waits for running deliveries at its end.
const DefaultGrace = 10 * time.Second

// reportsAtOnce is how many dead letters are reported at once.
const reportsAtOnce = 8

// maxRefusals is how often a message may be refused while others are taken.
// After that it is not the worker that is busy: each refusal is a delivery.
const maxRefusals = 100

// lastWait is how much longer a delivery has after its context has ended, to
// report its outcome. After that it is left alone: a restart redelivers it.
const lastWait = 6 * time.Second

// Outcome is what became of a delivery.
type Outcome struct {
	Acknowledge bool          // the message is done
	Busy        bool          // else, the worker had no room for the message
	Delay       time.Duration // else, after which time it is to come again; 0 = as the Pusher sees fit
}

// Deliverer gives one message to a worker and waits for the outcome. When ctx
// ends the process is stopping: Deliver should return soon. The error says why a
// message is not acknowledged, and is only logged.
type Deliverer interface {
	Deliver(ctx context.Context, d embedded.Delivery) (Outcome, error)
}

// DelivererFunc is a function that is a Deliverer.
type DelivererFunc func(ctx context.Context, d embedded.Delivery) (Outcome, error)

// Deliver implements [Deliverer].
func (f DelivererFunc) Deliver(ctx context.Context, d embedded.Delivery) (Outcome, error) {
	return f(ctx, d)
}

// Pusher moves messages from the queues of a database to a worker. A push that
// the worker was too busy for, and in which no attempt started, was no delivery;
// every other push that is not acknowledged counts as one.
type Pusher struct {
	DB          *embedded.DB
	Worker      Deliverer     // nil = nothing is pushed: workers fetch their messages
	DeadLetters Deliverer     // reports that a message died, tried until it acknowledges; nil = nobody asks
	Concurrency int           // deliveries at once; 0 = DefaultConcurrency
	Grace       time.Duration // for running deliveries at the end; 0 = DefaultGrace
	Log         *slog.Logger  // nil = slog.Default()
}

// Run pushes until ctx ends. Then it claims no more, waits for the deliveries
// that run until the grace is over, ends their contexts and releases what they
// leave unacknowledged. It returns early only when the queue is closed.
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
			p.log().Error("some deliveries have not ended; they are abandoned")
		}
	}
	if errors.Is(err, embedded.ErrClosed) {
		return err
	}
	return nil
}

// failed reports whether there is an error; one that is worth trying again is
// logged, and waited for a little.
func (p *Pusher) logAndPause(ctx context.Context, err error) bool {
	if err != nil && ctx.Err() == nil && !errors.Is(err, embedded.ErrClosed) {
		p.log().Error("cannot read the queue", "error", err)
		within(ctx.Done(), time.Second)
	}
	return err != nil
}

// pool is where deliveries go, and how many may run at once.
type pool struct {
	to      Deliverer // nil = nobody, and each is acknowledged
	slots   chan struct{}
	running *sync.WaitGroup
}

// feed delivers the messages of one queue until ctx ends, or the queue is empty
// and forgotten. Queues of one pool share its slots.
func (p *Pusher) feed(ctx, delivering context.Context, f *embedded.Feed, l pool) {
	pace := newPace(cap(l.slots))
	for {
		more, err := f.Wait(ctx)
		if ctx.Err() != nil || errors.Is(err, embedded.ErrClosed) || err == nil && !more {
			return
		}
		if p.logAndPause(ctx, err) {
			continue
		}
		pace.wait(ctx)
		free := take(ctx, l.slots, pace)
		ds, err := f.Claim(ctx, free)
		for range free - len(ds) {
			<-l.slots
		}
		p.logAndPause(ctx, err)
		for _, d := range ds {
			run := pace.begin()
			l.running.Go(func() {
				defer func() { <-l.slots }()
				p.deliver(delivering, d, l.to, run)
			})
		}
	}
}

// take waits for a free slot and takes as many as are free and the pace allows;
// 0 when ctx ends first.
func take(ctx context.Context, slots chan struct{}, pace *pace) (n int) {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	room, _, _ := pace.room() // it may have changed while the slots were taken
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

// deliver makes one delivery and tells the queue what became of it.
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
			log.Error("message not acknowledged; it may be delivered again", "error", err)
		}
		return
	case busy && d.Refusals < maxRefusals:
		counted := run.pace.takenSince(d.RefusedAt)
		if err := p.DB.Refuse(detached, d, o.Delay, counted); err != nil {
			log.Error("message not given back; it is delivered again after a restart", "error", err)
		}
		run.refused() // the message is in the queue again, behind those that wait
		log.Debug("the worker is busy", "again_in_seconds", o.Delay.Seconds())
		return
	case busy:
		run.refused()
	default:
		run.end()
	}
	if ctx.Err() != nil {
		o.Delay = 0 // cut short by the stop: the next process begins with it
	} else if o.Delay <= 0 {
		o.Delay = embedded.Backoff
	}
	log.Info("delivery not acknowledged", "error", err)
	if err := p.DB.Release(detached, d, o.Delay); err != nil {
		log.Error("message not released; it is delivered again after a restart", "error", err)
	}
}

// delivered calls the deliverer, and raises the pace as soon as an attempt starts.
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

// within reports whether done is closed before the time is over.
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

func orElse[T int | time.Duration](v, fallback T) T {
	if v <= 0 {
		return fallback
	}
	return v
}
