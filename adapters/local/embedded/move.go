package embedded

import (
	"context"

	"github.com/cockroachdb/pebble/v2"

	"github.com/taskgate/taskgate/core/task"
)

// move adds to b what an event does to the task's message, if there is one. The
// caller calls moved after the commit and before it unlocks the id.
//
// Fetched and pushed messages are moved in the same way. A pushed message also has a
// claim. The claim ends at once when the message is done or becomes a dead letter.
// Otherwise the claim stays until the push has its answer.
func (d *DB) move(b *pebble.Batch, r *task.Record, m task.Move) (moved func(), err error) {
	nothing := func() {}
	if m == task.MoveNone {
		return nothing, nil
	}
	e, found, err := d.entry(r.ID)
	if err != nil || !found || e.Due == 0 {
		return nothing, err
	}
	next := e
	switch {
	case m == task.MoveDone:
		next.done()
	case e.DeadAt != 0 || e.Deliveries == 0:
		// Only the report of a dead letter is still due. The due time of a message
		// that was never delivered does not depend on reports about its task.
		return nothing, nil
	case m == task.MoveStarted || m == task.MoveLeased:
		next.HeldUntil = r.LeaseUntil.UnixMicro()
		next.Due = max(e.Due, next.HeldUntil)
	case m == task.MoveRetry:
		next.HeldUntil = 0
		next.release(d.now(), Backoff)
	case m == task.MoveReleased:
		next.HeldUntil, next.Due = 0, d.now().UnixMicro()
		next.Deliveries = max(e.Deliveries, 1) - 1
	}
	return func() { d.moved(r.ID, next, m) }, d.put(b, r.ID, e, next)
}

// moved tells the claim and the feed about a committed move.
func (d *DB) moved(id string, e entry, m task.Move) {
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	c := d.queue.claims[id]
	if c != nil {
		c.lease = e.HeldUntil
	}
	if c != nil && m == task.MoveStarted {
		c.start()
	}
	if e.Due != 0 && (c == nil || e.DeadAt != 0) {
		d.add(e)
	}
	if e.Due == 0 || e.DeadAt != 0 {
		d.endClaim(id)
	}
}

// RemoveMessage implements [task.MessageStore]. It does not remove a dead letter.
func (d *DB) RemoveMessage(ctx context.Context, r *task.Record) error {
	end, err := d.begin(ctx, "remove message", r.ID)
	if err != nil {
		return err
	}
	defer end()
	defer d.locks.lock(r.ID)()
	e, found, err := d.entry(r.ID)
	if err != nil || !found || e.DeadAt != 0 {
		return wrap("remove message", r.ID, err)
	}
	ix, found, err := d.index(r.ID)
	if err != nil || found && ix.EnqueuedAt != r.EnqueuedAt.UnixMicro() {
		return wrap("remove message", r.ID, err) // another task has taken the id over
	}
	b := d.pebble.NewBatch()
	if err = d.put(b, r.ID, e, entry{lane: e.lane}); err == nil {
		err = d.commit(b, false)
	}
	if err == nil {
		d.forget(r.ID)
	}
	return wrap("remove message", r.ID, err)
}
