package dispatchtest

import (
	"context"
	"fmt"

	"github.com/taskgate/taskgate/core/task"
)

var cancelCases = []Case{
	{"a message that was cancelled never arrives, and its neighbours do", cancelRemoves},
	{"cancel of a message that is gone is no error", cancelOfGone},
}

func sent(m task.Outgoing, r task.Receipt) task.Sent {
	return task.Sent{ID: m.ID, Queue: m.Queue, Route: m.Route, CancelRef: r.CancelRef}
}

func (s Subject) cancels(ctx context.Context) error {
	if err := s.defers(ctx); err != nil {
		return err
	}
	if !s.Dispatcher.Limits(ctx, s.Queue, delay).SupportsCancel {
		return inapplicable("the target cannot take a message back")
	}
	return nil
}

func cancelRemoves(ctx context.Context, s Subject) error {
	if err := s.cancels(ctx); err != nil {
		return err
	}
	var ms [3]task.Outgoing
	var receipts [3]task.Receipt
	for i := range ms {
		var err error
		ms[i] = s.message(ctx, delay)
		if receipts[i], err = s.Dispatcher.Dispatch(ctx, ms[i]); err != nil {
			return fmt.Errorf("Dispatch: %w", err)
		}
	}
	if err := s.Dispatcher.Cancel(ctx, sent(ms[1], receipts[1])); err != nil {
		return fmt.Errorf("Cancel: %w", err)
	}
	return s.onlyNeighbours(ctx, ms)
}

// onlyNeighbours checks that of three messages the middle one never arrives.
func (s Subject) onlyNeighbours(ctx context.Context, ms [3]task.Outgoing) error {
	if err := s.waitUntil(ctx, ms[2].Due.Add(s.late())); err != nil {
		return err
	}
	in := inbox{}
	both := func() bool { return len(in[ms[0].ID]) > 0 && len(in[ms[2].ID]) > 0 }
	if err := s.receive(ctx, s.patience(), in, both, ms[:]...); err != nil {
		return err
	}
	if !both() {
		return fmt.Errorf("a message beside the cancelled one has not arrived")
	}
	if len(in[ms[1].ID]) > 0 {
		return fmt.Errorf("the cancelled message has arrived")
	}
	return s.nothing(ctx, ms[1])
}

func cancelOfGone(ctx context.Context, s Subject) error {
	if err := s.cancels(ctx); err != nil {
		return err
	}
	cancelled, arrived := s.message(ctx, delay), s.message(ctx, delay)
	for _, m := range []task.Outgoing{cancelled, arrived} {
		receipt, err := s.Dispatcher.Dispatch(ctx, m)
		if err != nil {
			return fmt.Errorf("Dispatch: %w", err)
		}
		if m.ID == arrived.ID {
			if err := s.comeWhenDue(ctx, m); err != nil {
				return err
			}
		}
		for range 2 {
			if err := s.Dispatcher.Cancel(ctx, sent(m, receipt)); err != nil {
				return fmt.Errorf("Cancel: %w", err)
			}
		}
	}
	return nil
}
