package dispatchtest

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

var dueCases = []Case{
	{"a message arrives when it is due, never before", arrivesWhenDue},
	{"a delayed message arrives as the same JSON with its attributes", delayedIsKept},
	{"a message that is overdue arrives at once", overdueArrives},
	{"an id that is not yet due is accepted again", acceptsRepeatsNotDue},
}

// delay is the shortest delay of these cases: no fraction of it can be mistaken
// for another, whichever way it is rounded.
const delay = time.Second

func (s Subject) defers(ctx context.Context) error {
	if !s.Dispatcher.Limits(ctx, s.Queue, delay).SupportsDefer {
		return inapplicable("the target has no delays")
	}
	return nil
}

// arrivesWhenDue takes fractions of a second, of which a target of whole
// seconds must not lose any: it rounds up.
func arrivesWhenDue(ctx context.Context, s Subject) error {
	if err := s.defers(ctx); err != nil {
		return err
	}
	var ms []task.Outgoing
	for _, fraction := range []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 999999 * time.Microsecond} {
		m := s.message(ctx, delay+fraction)
		if err := s.dispatch(ctx, m); err != nil {
			return err
		}
		ms = append(ms, m)
	}
	return s.comeWhenDue(ctx, ms...)
}

// comeWhenDue watches messages, the earliest due first, arrive: each is looked
// for shortly before its time, and must be there soon after.
func (s Subject) comeWhenDue(ctx context.Context, ms ...task.Outgoing) error {
	in := inbox{}
	for i, m := range ms {
		if err := s.waitUntil(ctx, m.Due.Add(-50*time.Millisecond)); err != nil {
			return err
		}
		never := func() bool { return false }
		if err := s.receive(ctx, orElse(s.Quiet, 100*time.Millisecond), in, never, ms[i:]...); err != nil {
			return err
		}
		patience, err := s.becomeDue(ctx, m)
		if err != nil {
			return err
		}
		there := func() bool { return len(in[m.ID]) > 0 }
		if err := s.receive(ctx, patience, in, there, ms[i:]...); err != nil {
			return err
		}
		if !there() {
			return fmt.Errorf("a message has not arrived %v after it was due", s.late())
		}
	}
	return nil
}

// delayedIsKept: a delay may take another way to the target, with rules of its
// own on what a message may hold; see keepsTouchyText.
func delayedIsKept(ctx context.Context, s Subject) error {
	if err := s.defers(ctx); err != nil {
		return err
	}
	m := s.message(ctx, delay)
	m.Body = body(m.ID, nasty+`,"touchy":["<aws.scheduler.execution-id>","`+"\ufffe"+`"]`)
	m.Attributes[task.AttributeTaskName] = "é.日本 😀 'q' \"q\", <b>&amp; a=b;c"
	if err := s.dispatch(ctx, m); err != nil {
		return err
	}
	if err := s.waitUntil(ctx, m.Due.Time); err != nil {
		return err
	}
	patience, err := s.becomeDue(ctx, m)
	if err != nil {
		return err
	}
	s.Patience = patience
	in, err := s.expect(ctx, m)
	if err != nil {
		return err
	}
	d := in[m.ID][0]
	if !s.NoAttributes && !maps.Equal(d.Attributes, m.Attributes) {
		return fmt.Errorf("the attributes arrived as %q and were %q", d.Attributes, m.Attributes)
	}
	return sameJSON(d.Body, m.Body)
}

// becomeDue moves a clock of the test's own to when m must have come. The wall
// clock moves by itself, and so it is not waited for: the answer is how long to
// wait for m.
func (s Subject) becomeDue(ctx context.Context, m task.Outgoing) (time.Duration, error) {
	patience := s.patience()
	if s.WaitUntil == nil {
		return max(0, m.Due.Sub(s.now())) + s.late() + patience, nil
	}
	return patience, s.WaitUntil(ctx, m.Due.Add(s.late()))
}

// overdueArrives: a request that is repeated late brings such a message.
func overdueArrives(ctx context.Context, s Subject) error {
	if err := s.defers(ctx); err != nil {
		return err
	}
	late, longAgo := s.message(ctx, 0), s.message(ctx, 0)
	late.Due, longAgo.Due = task.At(s.now().Add(-time.Second)), task.At(s.now().AddDate(-1, 0, 0))
	if err := s.dispatch(ctx, late, longAgo); err != nil {
		return err
	}
	return s.unchanged(ctx, late, longAgo)
}

// acceptsRepeatsNotDue dispatches one delayed message twice. The second dispatch
// must succeed although the first one's schedule exists.
func acceptsRepeatsNotDue(ctx context.Context, s Subject) error {
	if err := s.defers(ctx); err != nil {
		return err
	}
	m := s.message(ctx, delay)
	if err := s.dispatch(ctx, m, m); err != nil {
		return fmt.Errorf("the same id twice: %w", err)
	}
	return s.comeWhenDue(ctx, m)
}
