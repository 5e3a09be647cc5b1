// Package push hands the messages of the embedded queue to a worker, many at
// once, and tells the queue what became of each.
package push

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/taskgate/taskgate/adapters/local/embedded"
)

// DefaultConcurrency is how many deliveries run at once unless told otherwise.
const DefaultConcurrency = 64

// DefaultGrace is how long [Pusher.Run] waits for running deliveries at its end.
const DefaultGrace = 10 * time.Second

// The wait before a redelivery is drawn from 0 to a bound that doubles with each
// delivery from the least to the most.
const (
	leastBackoff = time.Second
	mostBackoff  = 5 * time.Minute
)

// lastWait is how much longer a delivery has after its context has ended, to
// report what it came to. After that it is left alone: a restart redelivers it.
const lastWait = 6 * time.Second

// Queue is where messages come from: [embedded.DB]. A message that is claimed
// is the claimer's until it is acknowledged or released.
type Queue interface {
	// Claim waits for messages that are due, and returns at least one and at
	// most limit of them, or an error: ctx's, or that the queue fails for now.
	Claim(ctx context.Context, limit int) ([]embedded.Delivery, error)
	// Acknowledge ends a delivery: the message is done.
	Acknowledge(ctx context.Context, d embedded.Delivery) error
	// Release ends a delivery: the message is to come again after delay.
	Release(ctx context.Context, d embedded.Delivery, delay time.Duration) error
}

// Outcome is what a delivery came to; core/worker's converts to it.
type Outcome struct {
	Acknowledge bool          // the message is done
	Delay       time.Duration // else, after which time it is to come again; 0 = as the Pusher sees fit
}

// Deliverer gives one message to a worker and waits for the outcome. When ctx
// ends the process is stopping: it should return soon. The error says why a
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

// Pusher moves messages from a queue to a worker. The queue counts deliveries:
// one that was refused because another attempt holds the lease counts too.
type Pusher struct {
	Queue       Queue
	Worker      Deliverer
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
	slots := make(chan struct{}, orElse(p.Concurrency, DefaultConcurrency))
	var running sync.WaitGroup
	var err error
	for ctx.Err() == nil && err == nil {
		free := take(ctx, slots)
		ds, claimErr := p.claim(ctx, free)
		if errors.Is(claimErr, embedded.ErrClosed) {
			err = claimErr
		}
		for range free - len(ds) {
			<-slots
		}
		for _, d := range ds {
			running.Go(func() {
				defer func() { <-slots }()
				p.deliver(delivering, d)
			})
		}
	}
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	if !within(done, orElse(p.Grace, DefaultGrace)) {
		end()
		if !within(done, lastWait) {
			p.log().Error("deliveries do not end, and are left alone")
		}
	}
	return err
}

// take waits for one free slot and takes all that are; 0 when ctx ends first.
func take(ctx context.Context, slots chan struct{}) (n int) {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	for n = 1; ; n++ {
		select {
		case slots <- struct{}{}:
		default:
			return n
		}
	}
}

func (p *Pusher) claim(ctx context.Context, limit int) ([]embedded.Delivery, error) {
	if limit == 0 {
		return nil, nil
	}
	ds, err := p.Queue.Claim(ctx, limit)
	if err != nil && ctx.Err() == nil && !errors.Is(err, embedded.ErrClosed) {
		p.log().Error("the queue cannot be read", "error", err)
		within(ctx.Done(), time.Second)
	}
	return ds, err
}

// deliver makes one delivery and settles it.
func (p *Pusher) deliver(ctx context.Context, d embedded.Delivery) {
	log := p.log().With("task_id", d.ID, "queue", d.Queue, "delivery", d.Count, "dead", d.Dead)
	to := p.Worker
	if d.Dead {
		to = p.DeadLetters
		if d.Count == 1 {
			log.Warn("dead letter")
		}
	}
	o, err := Outcome{Acknowledge: true}, error(nil)
	if to != nil {
		o, err = to.Deliver(ctx, d)
	}
	settling := context.WithoutCancel(ctx)
	if o.Acknowledge {
		if err := p.Queue.Acknowledge(settling, d); err != nil {
			log.Error("message not acknowledged; it may come again", "error", err)
		}
		return
	}
	if ctx.Err() != nil {
		o.Delay = 0 // cut short by the stop: the next process begins with it
	} else if o.Delay <= 0 {
		o.Delay = backoff(d.Count)
	}
	log.Info("delivery not acknowledged", "again_in_seconds", o.Delay.Seconds(), "error", err)
	if err := p.Queue.Release(settling, d, o.Delay); err != nil {
		log.Error("message not released; it comes again after a restart", "error", err)
	}
}

func (p *Pusher) log() *slog.Logger {
	if p.Log == nil {
		return slog.Default()
	}
	return p.Log
}

// backoff is how long to wait after the count-th delivery, with full jitter, so
// that messages which failed together do not come again together.
func backoff(count int) time.Duration {
	bound := mostBackoff
	if doublings := count - 1; doublings < 9 { // 1 s · 2⁹ is past the most
		bound = min(bound, leastBackoff<<max(doublings, 0))
	}
	return rand.N(bound) + time.Millisecond
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

func orElse[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}
