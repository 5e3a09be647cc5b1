package batch_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/taskgate/taskgate/adapters/aws/internal/batch"
	"github.com/taskgate/taskgate/core/task"
)

// service answers calls, whose messages are their own ids, and notes them.
type service struct {
	mu     sync.Mutex
	calls  [][]string
	answer func(call int, id string) *batch.Outcome // nil = it is not mentioned
	err    error                                    // of those
}

func (s *service) call(_ context.Context, ids []string) (map[string]batch.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, slices.Clone(ids))
	outcomes := map[string]batch.Outcome{}
	for _, id := range ids {
		if o := s.answer(len(s.calls), id); o != nil {
			outcomes[id] = *o
		}
	}
	return outcomes, s.err
}

func entries(bytes ...int64) (all []batch.Entry[string]) {
	for i, n := range bytes {
		all = append(all, batch.Entry[string]{Place: i, Bytes: n, Message: batch.ID(i)})
	}
	return all
}

func accepted(id string) *batch.Outcome {
	return &batch.Outcome{DispatchResult: task.DispatchResult{Receipt: task.Receipt{MessageID: "m" + id}}}
}

func refused(again bool) *batch.Outcome {
	return &batch.Outcome{DispatchResult: task.DispatchResult{Err: errors.New("refused")}, Again: again}
}

func TestACallHasTenMessagesAndTheBytesThatItTakesAtMost(t *testing.T) {
	for _, c := range []struct {
		bytes []int64
		want  []int // messages in each call
	}{
		{nil, nil},
		{slices.Repeat([]int64{1}, 25), []int{10, 10, 5}},
		{[]int64{60, 40, 1, 100, 50, 51}, []int{2, 1, 1, 1, 1}},
		{[]int64{500, 1}, []int{1, 1}}, // the service's to refuse
	} {
		s := &service{answer: func(_ int, id string) *batch.Outcome { return accepted(id) }}
		results := make([]task.DispatchResult, len(c.bytes))
		batch.Send(t.Context(), entries(c.bytes...), 100, true, s.call, results)
		var got []int
		for _, ids := range s.calls {
			got = append(got, len(ids))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v went in calls of %v, want %v", c.bytes, got, c.want)
		}
		for i, r := range results {
			if r.Receipt.MessageID != "m"+batch.ID(i) {
				t.Errorf("place %d has %+v", i, r)
			}
		}
	}
}

// TestACallThatIsRefusedForGoodSaysNothingOfItsMessages: each is asked about alone.
func TestACallThatIsRefusedForGoodSaysNothingOfItsMessages(t *testing.T) {
	s := &service{}
	call := func(_ context.Context, ids []string) (map[string]batch.Outcome, error) {
		s.calls = append(s.calls, ids)
		if len(ids) > 1 || ids[0] == "1" {
			return nil, task.Errorf(task.MessageTooLarge, "too large")
		}
		return map[string]batch.Outcome{ids[0]: *accepted(ids[0])}, nil
	}
	results := make([]task.DispatchResult, 3)
	batch.Send(t.Context(), entries(1, 1, 1), 100, true, call, results)
	for i, r := range results {
		if want := i == 1; (task.KindOf(r.Err) == task.MessageTooLarge) != want || (r.Receipt.MessageID == "") != want {
			t.Errorf("message %d: %+v", i, r)
		}
	}
	if len(s.calls) != 4 {
		t.Errorf("calls of %v", s.calls)
	}
}

func TestWhatMayBeSentAgainIsSentOnceMoreUnlessThereIsAnOrder(t *testing.T) {
	for ordered, want := range map[bool]int{false: 2, true: 1} {
		s := &service{answer: func(call int, id string) *batch.Outcome {
			switch {
			case id == "1" && call == 1, id == "3":
				return refused(true)
			case id == "2":
				return refused(false)
			}
			return accepted(id)
		}}
		results := make([]task.DispatchResult, 4)
		batch.Send(t.Context(), entries(1, 1, 1, 1), 100, ordered, s.call, results)
		if len(s.calls) != want || !ordered && !slices.Equal(s.calls[1], []string{"1", "3"}) {
			t.Errorf("ordered %v: calls %v", ordered, s.calls)
		}
		for i, fails := range []bool{false, ordered, true, true} {
			if (results[i].Err != nil) != fails {
				t.Errorf("ordered %v: place %d has %+v", ordered, i, results[i])
			}
		}
	}
}

func TestWhatAnAnswerDoesNotMentionHasTheCallsError(t *testing.T) {
	silent := errors.New("silent")
	s := &service{err: silent, answer: func(_ int, id string) *batch.Outcome {
		if id == "0" {
			return nil
		}
		return accepted(id)
	}}
	results := make([]task.DispatchResult, 2)
	batch.Send(t.Context(), entries(1, 1), 100, false, s.call, results)
	if results[0].Err != silent || results[1].Err != nil || len(s.calls) != 1 {
		t.Errorf("%+v after %v", results, s.calls)
	}
}

func TestARequestThatHasEndedSendsNothingAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &service{answer: func(int, string) *batch.Outcome { cancel(); return refused(true) }}
	batch.Send(ctx, entries(1), 100, false, s.call, make([]task.DispatchResult, 1))
	if len(s.calls) != 1 {
		t.Errorf("calls %v", s.calls)
	}
}
