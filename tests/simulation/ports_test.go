package simulation_test

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
)

// storeBytes is what the store holds of one record's payload.
const storeBytes = 400

// store is a [tasktest.Store] whose every call the scheduler decides upon, and
// whose every write is held against the promises.
type store struct {
	*tasktest.Store
	world *world
}

// The effect of a call may come after its caller has given it up: what it returns
// goes where the caller does not look any more.

// direct is the context of what the scheduler itself applies.
var direct = context.Background()

func (s *store) Create(ctx context.Context, r *task.Record) (*task.Record, error) {
	mine := tasktest.Clone(r)
	var existing *task.Record
	c := &call{op: "create", id: r.ID, record: mine}
	c.effect = func() (err error) {
		if existing, err = s.Store.Create(direct, mine); err == nil && existing == nil {
			s.world.committed(c, mine)
		}
		return err
	}
	if err := s.world.port(ctx, c); err != nil {
		return nil, err
	}
	r.Revision = mine.Revision
	return existing, nil
}

func (s *store) Get(ctx context.Context, id string) (*task.Record, error) {
	var r *task.Record
	c := &call{op: "read", id: id}
	c.effect = func() (err error) {
		r, err = s.Store.Get(direct, id)
		return err
	}
	if err := s.world.port(ctx, c); err != nil {
		return nil, err
	}
	return r, nil
}

func (s *store) Replace(ctx context.Context, r *task.Record) error {
	mine := tasktest.Clone(r)
	c := &call{op: "replace", id: r.ID, record: mine}
	c.effect = func() error {
		err := s.Store.Replace(direct, mine)
		if err == nil {
			s.world.committed(c, mine)
		}
		return err
	}
	if err := s.world.port(ctx, c); err != nil {
		return err
	}
	r.Revision = mine.Revision
	return nil
}

// List may show of each record the version before its last, as an index that
// lags does.
func (s *store) List(ctx context.Context, q task.Query) (task.Page, error) {
	var page task.Page
	c := &call{op: "list"}
	c.effect = func() (err error) {
		page, err = s.Store.List(direct, q)
		for i, r := range page.Records {
			if old := s.world.ledger.before[r.ID]; old != nil && old.EnqueuedAt == r.EnqueuedAt && s.world.faults && s.world.chance(0.3) {
				page.Records[i] = tasktest.Clone(old)
			}
		}
		return err
	}
	if err := s.world.port(ctx, c); err != nil {
		return task.Page{}, err
	}
	return page, nil
}

// target is a [task.Dispatcher] in front of a queue in memory, and the broker
// that delivers what the queue has accepted.
type target struct {
	world *world
	alias string
	queue *tasktest.Queue
	broker
}

// Limits waits for the scheduler in a batch, whose items are worked on side by
// side, so that they get their ids in an order that the seed decides.
func (t *target) Limits(ctx context.Context, queue string, delay time.Duration) task.Limits {
	if ctx.Value(procKey{}).(*proc).batch {
		_ = t.world.port(ctx, &call{op: "limits", detail: queue + "+" + delay.String()}) // it never fails
	}
	return t.queue.Limits(ctx, queue, delay)
}

func (t *target) Dispatch(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
	var receipt task.Receipt
	c := &call{op: "dispatch", id: m.ID}
	c.effect = func() (err error) {
		receipt, err = t.accept(c.proc, m)
		return err
	}
	if err := t.world.port(ctx, c); err != nil {
		return task.Receipt{}, err
	}
	return receipt, nil
}

// accept is what the target does with a message that has reached it.
func (t *target) accept(p *proc, m task.Outgoing) (task.Receipt, error) {
	if name := m.Attributes[task.AttributeTaskName]; name == nameRefused || name == nameFickle && t.world.turned {
		return task.Receipt{}, task.Errorf(task.MessageRejected, "the target never accepts this")
	}
	receipt, err := t.queue.Dispatch(direct, m)
	if err == nil {
		t.world.sent(p, m)
	}
	return receipt, err
}

// Cancel implements [task.Dispatcher].
func (t *target) Cancel(ctx context.Context, s task.Sent) error {
	return t.world.port(ctx, &call{op: "remove", id: s.ID, effect: func() error { return t.queue.Cancel(direct, s) }})
}

// batchTarget takes several messages in one call, and may fail some of them.
type batchTarget struct{ *target }

func (t batchTarget) DispatchBatch(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
	var results []task.DispatchResult
	order := make([]int, len(ms)) // by id: which of two twins is sent is not the seed's to say
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return strings.Compare(ms[i].ID, ms[j].ID) })
	c := &call{op: "dispatch batch", id: ms[order[0]].ID}
	c.effect = func() error {
		answers := make([]task.DispatchResult, len(ms))
		for _, i := range order {
			m, item := ms[i], fine
			if t.world.faults && t.world.chance(t.world.rate*2) {
				item = pick(t.world, []fate{refused, answerLost})
			}
			if item != refused {
				answers[i].Receipt, answers[i].Err = t.accept(c.proc, m)
			}
			if item != fine {
				answers[i] = task.DispatchResult{Err: unavailable(fateNames[item])}
				c.proc.failed = append(c.proc.failed, item)
			}
			t.world.history.add(t.world, "  … item %s%s", short(m.ID), outcome(item, answers[i].Err))
		}
		results = answers
		return nil
	}
	if err := t.world.port(ctx, c); err != nil {
		failed := make([]task.DispatchResult, len(ms))
		for i := range failed {
			failed[i].Err = unavailable("the batch: " + err.Error())
		}
		return failed
	}
	return results
}

// atomicTarget has its queue in the store's own database.
type atomicTarget struct{ *target }

func (t atomicTarget) CreateAndDispatch(ctx context.Context, entries []task.Entry) []task.EntryResult {
	mine := make([]task.Entry, len(entries))
	for i, e := range entries {
		mine[i] = task.Entry{Record: tasktest.Clone(e.Record), Message: e.Message}
	}
	var results []task.EntryResult
	c := &call{op: "create and dispatch", id: mine[0].Record.ID, record: mine[0].Record}
	c.effect = func() error {
		results = make([]task.EntryResult, len(mine))
		for i, e := range mine {
			results[i] = t.createAndDispatch(c, e)
		}
		if len(mine) == 1 {
			return results[0].Err
		}
		return nil
	}
	if err := t.world.port(ctx, c); err != nil {
		failed := make([]task.EntryResult, len(mine))
		for i := range failed {
			failed[i].Err = err
		}
		return failed
	}
	for i, e := range entries {
		e.Record.Revision = mine[i].Record.Revision
	}
	return results
}

func (t atomicTarget) createAndDispatch(c *call, e task.Entry) task.EntryResult {
	if e.Message.Attributes[task.AttributeTaskName] == nameRefused {
		err := task.Errorf(task.MessageRejected, "the target never accepts this")
		return task.EntryResult{DispatchResult: task.DispatchResult{Err: err}}
	}
	result := tasktest.Atomic{Queue: t.queue, Store: t.world.store.Store}.CreateAndDispatch(direct, []task.Entry{e})[0]
	if result.Err == nil && result.Existing == nil {
		t.world.committed(c, e.Record)
		t.world.sent(c.proc, e.Message)
	}
	return result
}
