package dispatchtest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/dispatchtest"
	"github.com/taskgate/taskgate/core/task/tasktest"
)

const (
	maxBytes      = 16 << 10
	maxDelay      = 3600
	oversizeBytes = 32 << 10
)

// bounded is what the real queue of the mutants can do.
func bounded(groups bool) task.Limits {
	bytes, seconds := int64(maxBytes), int64(maxDelay)
	l := tasktest.Unlimited("", 0)
	l.MaxMessageBytes, l.MaxDelaySeconds = &bytes, &seconds
	if !groups {
		l.GroupMode = task.GroupNone
	}
	return l
}

// limitsOf is how the real queue answers Limits.
type limitsOf func(queue string, delay time.Duration) task.Limits

// always answers the same.
func always(limits task.Limits) limitsOf {
	return func(string, time.Duration) task.Limits { return limits }
}

// twoRoutes are limits where a delay goes another way.
func twoRoutes(_ string, delay time.Duration) task.Limits {
	l := bounded(true)
	if delay > 0 {
		l.Route = "scheduler"
	}
	return l
}

func newQueue(limits limitsOf, cancelRefs bool) *tasktest.Queue {
	return &tasktest.Queue{Queues: []string{"mail"}, LimitsOf: limits, CancelRefs: cancelRefs}
}

// real is a dispatcher without defects. scratch is its like, for a defect that
// must know what the real one would answer.
type real struct {
	tasktest.Atomic
	scratch *tasktest.Queue
}

// answer returns what the real queue would answer to m.
func (r real) answer(m task.Outgoing) error {
	_, err := r.scratch.Dispatch(context.Background(), m)
	return err
}

// broken is a dispatcher with a defect: the calls that are set take the place
// of the real one's.
type broken struct {
	real
	limits   func(context.Context, string, time.Duration) task.Limits
	dispatch func(context.Context, task.Outgoing) (task.Receipt, error)
	batch    func(context.Context, []task.Outgoing) []task.DispatchResult
	cancel   func(context.Context, task.Sent) error
	atomic   func(context.Context, []task.Entry) []task.EntryResult
}

func (b *broken) Limits(ctx context.Context, queue string, delay time.Duration) task.Limits {
	if b.limits != nil {
		return b.limits(ctx, queue, delay)
	}
	return b.real.Limits(ctx, queue, delay)
}

func (b *broken) Dispatch(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
	if b.dispatch != nil {
		return b.dispatch(ctx, m)
	}
	return b.real.Dispatch(ctx, m)
}

func (b *broken) DispatchBatch(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
	if b.batch != nil {
		return b.batch(ctx, ms)
	}
	return b.real.DispatchBatch(ctx, ms)
}

func (b *broken) Cancel(ctx context.Context, s task.Sent) error {
	if b.cancel != nil {
		return b.cancel(ctx, s)
	}
	return b.real.Cancel(ctx, s)
}

func (b *broken) CreateAndDispatch(ctx context.Context, entries []task.Entry) []task.EntryResult {
	if b.atomic != nil {
		return b.atomic(ctx, entries)
	}
	return b.real.CreateAndDispatch(ctx, entries)
}

// mutant is a dispatcher with one defect, and the cases that catch it.
type mutant struct {
	name   string
	defect func(*broken)
	caught []string
}

// sending is a defect of Dispatch in what it sends.
func sending(change func(m *task.Outgoing)) func(*broken) {
	return func(b *broken) {
		b.dispatch = func(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
			change(&m)
			return b.real.Dispatch(ctx, m)
		}
	}
}

// answering is a defect of Dispatch in what it answers.
func answering(change func(m task.Outgoing, err error) error) func(*broken) {
	return func(b *broken) {
		b.dispatch = func(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
			receipt, err := b.real.Dispatch(ctx, m)
			return receipt, change(m, err)
		}
	}
}

func newSubject(limits limitsOf, cancelRefs bool, defect func(*broken)) dispatchtest.Subject {
	queue, store := newQueue(limits, cancelRefs), &tasktest.Store{MaxBytes: oversizeBytes}
	b := &broken{real: real{tasktest.Atomic{Queue: queue, Store: store}, newQueue(limits, cancelRefs)}}
	defect(b)
	return dispatchtest.Subject{
		Dispatcher:   b,
		Queue:        "mail",
		MissingQueue: "nowhere",
		Receive: func(ctx context.Context) (dispatchtest.Delivery, error) {
			m, err := queue.Receive(ctx)
			return dispatchtest.Delivery{Body: m.Body, Attributes: m.Attributes, Group: m.Group}, err
		},
		Store:         store,
		OversizeBytes: oversizeBytes,
		Patience:      10 * time.Second, // shorter than the delay of the slowest mutant
	}
}

// catch shows that exactly the named cases fail for each mutant. They run in a
// bubble, where waiting takes no time.
func catch(t *testing.T, limits task.Limits, mutants []mutant) {
	catchWith(t, always(limits), true, mutants)
}

func catchWith(t *testing.T, limits limitsOf, cancelRefs bool, mutants []mutant) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			var got []string
			for _, c := range dispatchtest.Cases() {
				synctest.Test(t, func(t *testing.T) {
					err := c.Check(t.Context(), newSubject(limits, cancelRefs, m.defect))
					if err != nil && !errors.Is(err, dispatchtest.ErrInapplicable) {
						t.Logf("%s: %v", c.Name, err)
						got = append(got, c.Name)
					}
				})
			}
			slices.Sort(got)
			slices.Sort(m.caught)
			if !slices.Equal(got, m.caught) {
				t.Errorf("caught by:\n\t%q\nwant:\n\t%q", got, m.caught)
			}
		})
	}
}

func TestCorrectDispatcherPasses(t *testing.T) {
	none := func(*broken) {}
	catch(t, bounded(true), []mutant{{"with groups", none, nil}})
	catch(t, bounded(false), []mutant{{"without groups", none, nil}})
	catchWith(t, twoRoutes, false, []mutant{{"with two routes", none, nil}})
}
