package tasktest

import (
	"context"

	"github.com/taskgate/taskgate/core/task"
)

// Atomic is a [task.AtomicDispatcher]: a Queue in the same database as a Store.
type Atomic struct {
	*Queue
	Store *Store
}

var _ task.AtomicDispatcher = Atomic{}

// CreateAndDispatch implements [task.AtomicDispatcher]. Its faults are scripted
// on the Queue, as [CreateAndDispatch].
func (a Atomic) CreateAndDispatch(ctx context.Context, r *task.Record, m task.Outgoing) (existing *task.Record, receipt task.Receipt, err error) {
	err = a.call(ctx, CreateAndDispatch, r.ID, func() error {
		existing, err = a.Store.create(r, func() error {
			receipt, err = a.accept(m)
			return err
		})
		return err
	})
	if err != nil {
		return nil, task.Receipt{}, err
	}
	return existing, receipt, nil
}
