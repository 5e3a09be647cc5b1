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
// on the Queue: of the call as [CreateAndDispatch], of one entry as [BatchEntry].
func (a Atomic) CreateAndDispatch(ctx context.Context, entries []task.Entry) []task.EntryResult {
	results := make([]task.EntryResult, len(entries))
	err := a.call(ctx, CreateAndDispatch, "", func() error {
		for i, e := range entries {
			results[i] = a.createAndDispatch(ctx, e)
		}
		return nil
	})
	if err != nil {
		for i := range results {
			results[i] = task.EntryResult{DispatchResult: task.DispatchResult{Err: err}}
		}
	}
	return results
}

func (a Atomic) createAndDispatch(ctx context.Context, e task.Entry) (result task.EntryResult) {
	err := a.call(ctx, BatchEntry, e.Record.ID, func() (err error) {
		result.Existing, err = a.Store.create(e.Record, func() (err error) {
			result.Receipt, err = a.accept(e.Message)
			return err
		})
		return err
	})
	if err != nil {
		return task.EntryResult{DispatchResult: task.DispatchResult{Err: err}}
	}
	return result
}
