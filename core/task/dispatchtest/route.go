package dispatchtest

import (
	"context"
	"fmt"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

var routeCases = []Case{
	{"a message goes the way that limits chose although it is due by then", keepsRoute},
}

// secondRoute returns a delay for which limits name another route than for no delay.
func (s Subject) secondRoute(ctx context.Context) (after time.Duration, ok bool) {
	direct := s.Dispatcher.Limits(ctx, s.Queue, 0).Route
	for _, after := range []time.Duration{delay, time.Hour, 30 * 24 * time.Hour} {
		if s.Dispatcher.Limits(ctx, s.Queue, after).Route != direct {
			return after, true
		}
	}
	return 0, false
}

// keepsRoute sends messages the way that limits chose for a delay, after the
// delay has passed, as happens when the store is slow. The record and every later
// cancel name that way, so a cancel must find the message there.
func keepsRoute(ctx context.Context, s Subject) error {
	after, ok := s.secondRoute(ctx)
	way := s.Dispatcher.Limits(ctx, s.Queue, after)
	if !ok || !way.SupportsCancel {
		return inapplicable("the target has no second way from which a message can be taken back")
	}
	overdue := func() task.Outgoing {
		m := s.message(ctx, after)
		m.Due = task.At(s.now().Add(-time.Second))
		return m
	}
	ms := []task.Outgoing{overdue(), overdue()}
	if err := s.dispatch(ctx, ms...); err != nil {
		return err
	}
	if _, ok := s.Dispatcher.(task.BatchDispatcher); ok {
		batch := []task.Outgoing{overdue(), overdue()}
		if _, err := s.dispatchBatch(ctx, batch...); err != nil {
			return err
		}
		ms = append(ms, batch...)
	}
	var kept, cancelled []task.Outgoing
	for i, m := range ms {
		if i%2 == 0 {
			kept = append(kept, m)
			continue
		}
		cancelled = append(cancelled, m)
		if err := s.Dispatcher.Cancel(ctx, sent(m, task.Receipt{})); err != nil {
			return fmt.Errorf("Cancel: %w", err)
		}
	}
	if err := s.waitUntil(ctx, s.now().Add(s.late())); err != nil {
		return err
	}
	in := inbox{}
	there := func() bool { return len(in[kept[0].ID]) > 0 && len(in[kept[len(kept)-1].ID]) > 0 }
	if err := s.receive(ctx, orElse(s.Patience, 10*time.Second), in, there, ms...); err != nil {
		return err
	}
	if !there() {
		return fmt.Errorf("a message that was due has not arrived")
	}
	for _, m := range cancelled {
		if len(in[m.ID]) > 0 {
			return fmt.Errorf("limits chose the route %q, and a cancel does not find the message there", way.Route)
		}
	}
	return s.nothing(ctx, cancelled...)
}
