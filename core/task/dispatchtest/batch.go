package dispatchtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

var batchCases = []Case{
	{"a batch delivers each message as a dispatch does", batchDelivers},
	{"a batch answers for each message in its place", batchAnswersInOrder},
	{"a batch of large messages arrives whole", batchOfLarge},
	{"a batch honours each due", batchHonoursDue},
	{"a receipt from a batch cancels its own message", batchReceipts},
	{"a batch accepts an id again", batchAcceptsRepeats},
	{"a batch of a request that has ended is Unavailable for each", batchHonoursContext},
	{"a batch to a missing queue is Unavailable for each and names it", batchNamesMissingQueue},
}

func (s Subject) batcher() (task.BatchDispatcher, error) {
	b, ok := s.Dispatcher.(task.BatchDispatcher)
	if !ok {
		return nil, inapplicable("the dispatcher has no batches")
	}
	return b, nil
}

// dispatchBatch dispatches messages that must be accepted.
func (s Subject) dispatchBatch(ctx context.Context, ms ...task.Outgoing) ([]task.DispatchResult, error) {
	b, err := s.batcher()
	if err != nil {
		return nil, err
	}
	results := b.DispatchBatch(ctx, ms)
	if len(results) != len(ms) {
		return nil, fmt.Errorf("a batch of %d messages has %d results", len(ms), len(results))
	}
	for i, r := range results {
		if r.Err != nil {
			return nil, fmt.Errorf("DispatchBatch: message %d: %w", i+1, r.Err)
		}
	}
	return results, nil
}

// batchDelivers sends more messages than any target takes in one call.
func batchDelivers(ctx context.Context, s Subject) error {
	if _, err := s.dispatchBatch(ctx); err != nil { // none is no error
		return err
	}
	var ms []task.Outgoing
	for i := range 25 {
		m := s.message(ctx, 0)
		m.Body = body(m.ID, fmt.Sprintf(`%s,"n":%d`, nasty, i))
		ms = append(ms, m)
	}
	if _, err := s.dispatchBatch(ctx, ms...); err != nil {
		return err
	}
	return s.unchanged(ctx, ms...)
}

// batchAnswersInOrder puts messages that can never be accepted among others.
func batchAnswersInOrder(ctx context.Context, s Subject) error {
	b, err := s.batcher()
	if err != nil {
		return err
	}
	limits := s.Dispatcher.Limits(ctx, s.Queue, 0)
	spoil := func(m task.Outgoing) task.Outgoing { return sized(m, int(*limits.MaxMessageBytes)+1) }
	switch {
	case limits.MaxMessageBytes != nil:
	case !limits.GroupMode.Supported():
		spoil = func(m task.Outgoing) task.Outgoing { m.Group = "group"; return m }
	default:
		return inapplicable("the target refuses nothing")
	}
	var ms, good, bad []task.Outgoing
	isBad := map[int]bool{0: true, 4: true, 5: true, 13: true}
	for i := range 14 {
		m := s.message(ctx, 0)
		if isBad[i] {
			m = spoil(m)
			bad = append(bad, m)
		} else {
			good = append(good, m)
		}
		ms = append(ms, m)
	}
	results := b.DispatchBatch(ctx, ms)
	if len(results) != len(ms) {
		return fmt.Errorf("a batch of %d messages has %d results", len(ms), len(results))
	}
	for i, r := range results {
		if isBad[i] {
			if err := refused(fmt.Sprintf("message %d of the batch", i+1), r.Err); err != nil {
				return err
			}
		} else if r.Err != nil {
			return fmt.Errorf("message %d of the batch: %w", i+1, r.Err)
		}
	}
	if _, err := s.expect(ctx, good...); err != nil {
		return err
	}
	return s.nothing(ctx, bad...)
}

// batchOfLarge sends messages that together are more than a call may hold.
func batchOfLarge(ctx context.Context, s Subject) error {
	size := 200 << 10
	if limit := s.Dispatcher.Limits(ctx, s.Queue, 0).MaxMessageBytes; limit != nil {
		size = min(size, int(*limit))
	}
	var ms []task.Outgoing
	for range 7 {
		ms = append(ms, sized(s.message(ctx, 0), size))
	}
	if _, err := s.dispatchBatch(ctx, ms...); err != nil {
		return err
	}
	return s.unchanged(ctx, ms...)
}

func batchHonoursDue(ctx context.Context, s Subject) error {
	if err := s.defers(ctx); err != nil {
		return err
	}
	atOnce, later := s.message(ctx, 0), s.message(ctx, delay+500*time.Millisecond)
	if _, err := s.dispatchBatch(ctx, later, atOnce); err != nil {
		return err
	}
	in := inbox{} // of both, so that one that comes early is not passed over
	there := func() bool { return len(in[atOnce.ID]) > 0 }
	if err := s.receive(ctx, s.patience(), in, there, later, atOnce); err != nil {
		return err
	}
	if !there() {
		return errors.New("the message that was due at once has not arrived")
	}
	return s.comeWhenDue(ctx, later)
}

func batchReceipts(ctx context.Context, s Subject) error {
	if err := s.cancels(ctx); err != nil {
		return err
	}
	var ms [3]task.Outgoing
	for i := range ms {
		ms[i] = s.message(ctx, delay)
	}
	results, err := s.dispatchBatch(ctx, ms[:]...)
	if err != nil {
		return err
	}
	if err := s.Dispatcher.Cancel(ctx, sent(ms[1], results[1].Receipt)); err != nil {
		return fmt.Errorf("Cancel: %w", err)
	}
	return s.onlyNeighbours(ctx, ms)
}

func batchAcceptsRepeats(ctx context.Context, s Subject) error {
	m := s.message(ctx, 0)
	if _, err := s.dispatchBatch(ctx, m); err != nil {
		return err
	}
	other := s.message(ctx, 0)
	if _, err := s.dispatchBatch(ctx, m, other, m); err != nil {
		return fmt.Errorf("the same id again: %w", err)
	}
	return s.unchanged(ctx, m, other)
}

func batchHonoursContext(ctx context.Context, s Subject) error {
	b, err := s.batcher()
	if err != nil {
		return err
	}
	over, cancel := ended(ctx)
	defer cancel()
	for name, request := range over {
		start := time.Now()
		results := b.DispatchBatch(request, []task.Outgoing{s.message(ctx, 0), s.message(ctx, 0)})
		if len(results) != 2 {
			return fmt.Errorf("a batch of 2 messages has %d results", len(results))
		}
		err := errors.Join(unavailable("DispatchBatch for "+name, results[0].Err), unavailable("DispatchBatch for "+name, results[1].Err))
		if err != nil {
			return err
		}
		if took := time.Since(start); took > soon {
			return fmt.Errorf("DispatchBatch for %s took %v", name, took)
		}
	}
	return nil
}

func batchNamesMissingQueue(ctx context.Context, s Subject) error {
	b, err := s.batcher()
	if err != nil {
		return err
	}
	if s.MissingQueue == "" {
		return inapplicable("the target takes any queue")
	}
	ms := []task.Outgoing{s.message(ctx, 0), s.message(ctx, 0)}
	for i := range ms {
		ms[i].Queue = s.MissingQueue
	}
	results := b.DispatchBatch(ctx, ms)
	if len(results) != 2 {
		return fmt.Errorf("a batch of 2 messages has %d results", len(results))
	}
	if err := errors.Join(named(s.MissingQueue, results[0].Err), named(s.MissingQueue, results[1].Err)); err != nil {
		return err
	}
	return s.nothing(ctx, ms...)
}
