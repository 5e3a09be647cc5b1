// Package dispatchtest is the contract of [task.Dispatcher] as a suite, with
// those of [task.BatchDispatcher] and [task.AtomicDispatcher] for whoever
// implements them. Each case returns an error, so that the suite is tested too:
// the mutants in this package's tests are dispatchers with one defect each, and
// each is caught.
//
// The cases share a queue gladly: they know their own messages by id, and pass
// over others.
package dispatchtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// Subject is a dispatcher to be judged, its target's other end, and what is
// known of both.
type Subject struct {
	Dispatcher task.Dispatcher

	// Queue is the name of a queue that exists; MissingQueue of one that does
	// not, "" when the target takes any name.
	Queue, MissingQueue string

	// Receive takes the next message out of Queue, as a worker would have it.
	// It waits for one until ctx ends, and then returns an error.
	Receive func(ctx context.Context) (Delivery, error)

	// NoAttributes is set for a target that has none.
	NoAttributes bool

	// Now is the clock that the dispatcher and its target go by; nil = time.Now.
	Now func() time.Time
	// WaitUntil returns when that clock shows t or later: it moves a clock of
	// the test's own, or waits; nil = it waits.
	WaitUntil func(ctx context.Context, t time.Time) error

	// Late is by how much a message may come after it is due, on that clock;
	// 0 = 2 seconds.
	Late time.Duration
	// Patience is how long, by the wall clock, Receive may take to return a
	// message that is there; 0 = a minute.
	Patience time.Duration
	// Quiet is how long, by the wall clock, it takes to be sure that there is no
	// message; 0 = 100 milliseconds.
	Quiet time.Duration

	// Store is the store of an AtomicDispatcher, and OversizeBytes a payload
	// that it refuses as Oversize; 0 = none.
	Store         task.Store
	OversizeBytes int
}

// Delivery is a message as a worker has it from its target.
type Delivery struct {
	Body       []byte // any encoding of the target's undone
	Attributes map[string]string
	Group      string
}

// Case is one promise of a contract.
type Case struct {
	Name string
	// Check returns ErrInapplicable when the subject has no such ability.
	Check func(context.Context, Subject) error
}

// ErrInapplicable is returned by a case that asks for what the subject, by its
// own word, does not have.
var ErrInapplicable = errors.New("does not apply")

// caseTime bounds one case, so that a dispatcher that hangs fails and does not
// stop the suite.
const caseTime = 5 * time.Minute

// Run checks each case as a subtest, on the subject that open returns for it.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), caseTime)
			defer cancel()
			err := c.Check(ctx, open(t))
			if errors.Is(err, ErrInapplicable) {
				t.Skip(err)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// Cases returns the three contracts.
func Cases() []Case {
	return slices.Concat(deliveryCases, dueCases, routeCases, limitCases, offloadCases, cancelCases, refusalCases, batchCases, atomicCases, entryCases)
}

func inapplicable(why string) error { return fmt.Errorf("%w: %s", ErrInapplicable, why) }

func (s Subject) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

func (s Subject) waitUntil(ctx context.Context, t time.Time) error {
	if s.WaitUntil != nil {
		return s.WaitUntil(ctx, t)
	}
	select {
	case <-time.After(time.Until(t)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s Subject) late() time.Duration { return orElse(s.Late, 2*time.Second) }

func (s Subject) patience() time.Duration { return orElse(s.Patience, time.Minute) }

func orElse(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// dispatch dispatches messages that must be accepted.
func (s Subject) dispatch(ctx context.Context, ms ...task.Outgoing) error {
	for _, m := range ms {
		if _, err := s.Dispatcher.Dispatch(ctx, m); err != nil {
			return fmt.Errorf("Dispatch: %w", err)
		}
	}
	return nil
}

// refused checks that an error says that the message can never be accepted.
func refused(what string, err error) error {
	if !task.KindOf(err).Final() {
		return fmt.Errorf("%s: want an error of a final kind, got %v", what, err)
	}
	return nil
}

// unavailable checks that an error says that it is worth trying again.
func unavailable(what string, err error) error {
	if task.KindOf(err) != task.Unavailable {
		return fmt.Errorf("%s: want %s, got %v", what, task.Unavailable, err)
	}
	return nil
}
