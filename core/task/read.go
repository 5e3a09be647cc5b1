package task

import (
	"context"
	"math/rand/v2"
	"time"
)

// Get returns the task as soon as it is finished, or as it stands when wait is
// over. UnknownTask when there is none that the caller may see.
func (s *Service) Get(ctx context.Context, call Call, id string, wait time.Duration) (Document, error) {
	until := s.Now().Add(min(wait, s.MaxWait))
	poll := firstPoll
	for {
		r, err := s.update(ctx, id, call.sees, func(r *Record) (bool, error) {
			return r.settle(s.Now(), s.ResultTTL), nil
		})
		if err != nil {
			return Document{}, err
		}
		left := until.Sub(s.Now())
		if r.Finished() || left <= 0 || !sleep(ctx, min(left, jitter(poll))) {
			return r.Document(s.Now()), nil
		}
		poll = min(poll*3/2, slowestPoll)
	}
}

// A waiting Get reads the record again at growing intervals: soon for tasks of
// milliseconds, and seldom enough that a long wait costs little.
const (
	firstPoll   = 20 * time.Millisecond
	slowestPoll = time.Second
)

func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2) }

// sleep waits for d, and reports whether ctx is still alive then.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Cancel keeps a task from starting, or asks its worker to stop. It reports
// whether no attempt can start any more (prevented), as opposed to the cancel
// being only requested. Errors: UnknownTask, Finished.
func (s *Service) Cancel(ctx context.Context, call Call, id string) (prevented bool, doc Document, err error) {
	var cancelled bool
	r, err := s.update(ctx, id, call.sees, func(r *Record) (write bool, err error) {
		now := s.Now()
		cancelled = false
		write = r.settle(now, s.ResultTTL)
		switch {
		case r.Ended == endCancelled:
			return write, nil
		case r.Finished():
			return write, Errorf(Finished, "the task has finished: %s", r.State(now))
		case r.leased(now):
			write = !r.CancelRequested
			r.CancelRequested = true
			return write, nil
		}
		if r.Status == Running {
			r.endAttempt(endLapsed, &errLapsed)
		}
		r.cancel(now, s.ResultTTL)
		cancelled = true
		return true, nil
	})
	if err != nil {
		return false, Document{}, err
	}
	if cancelled {
		s.remove(ctx, r, r.Dispatch.CancelRef)
	}
	// The worker of a plain payload need not ask before it starts, and that of a
	// backend which the settings name no more may be one of those.
	b, known := s.Backends[r.Backend]
	return r.Ended == endCancelled && known && !b.Plain, r.Document(s.Now()), nil
}

// Capabilities is what one backend can do.
type Capabilities struct {
	Target       string   `json:"target"`
	Queues       []string `json:"queues"` // empty = anything
	DefaultQueue string   `json:"default_queue"`
	Limits
	SupportsPriority  bool `json:"supports_priority"`
	SupportsGetResult bool `json:"supports_get_result"` // true: the store has the results
	SupportsGroup     bool `json:"supports_group"`
	MaxPayloadBytes   int  `json:"max_payload_bytes"` // of args + kwargs + metadata, as JSON
}

// Capabilities returns what each backend can do, at its default queue, by alias.
func (s *Service) Capabilities(ctx context.Context) map[string]Capabilities {
	all := make(map[string]Capabilities, len(s.Backends))
	for alias, b := range s.Backends {
		limits := b.Dispatcher.Limits(ctx, b.DefaultQueue, 0)
		all[alias] = Capabilities{
			Target:            b.Target,
			Queues:            b.Queues,
			DefaultQueue:      b.DefaultQueue,
			Limits:            limits,
			SupportsGetResult: true,
			SupportsGroup:     limits.GroupMode.Supported(),
			MaxPayloadBytes:   s.MaxPayloadBytes,
		}
	}
	return all
}
