package embedded

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/taskgate/taskgate/core/task"
)

// The most that one page of a listing looks at, so that a filter which matches
// little, or records which are large, cost many short pages and never a long wait.
const (
	maxExamined      = 1000
	maxExaminedBytes = 4 << 20
)

// List implements [task.Store]. It may show what is on its way to the disk.
func (d *DB) List(ctx context.Context, q task.Query) (page task.Page, err error) {
	end, err := d.begin(ctx, "list", "")
	if err != nil {
		return task.Page{}, err
	}
	defer end()
	it, err := d.pebble.NewIter(&pebble.IterOptions{LowerBound: []byte{recordKey}, UpperBound: []byte{recordKey + 1}})
	if err != nil {
		return task.Page{}, unavailable("list", "", err)
	}
	more := false
	if q.After == (task.Position{}) {
		more = it.Last()
	} else {
		more = it.SeekLT(timeKey(recordKey, q.After.EnqueuedAt.UnixMicro(), q.After.ID))
	}
	var last []byte
	for examined, size := 0, 0; more && len(page.Records) < q.Limit && examined < maxExamined && size < maxExaminedBytes; examined++ {
		value, err := it.ValueAndErr()
		var r *task.Record
		if err == nil {
			r, err = decodeRecord(value)
		}
		if err != nil {
			return task.Page{}, unavailable("list", "", errors.Join(err, it.Close()))
		}
		if matches(q, r) {
			page.Records = append(page.Records, r)
		}
		size += len(value)
		last = append(last[:0], it.Key()...)
		more = it.Prev()
	}
	if err := it.Close(); err != nil {
		return task.Page{}, unavailable("list", "", err)
	}
	if more && last != nil {
		micros, id := parseTimeKey(last)
		page.Next = task.Position{EnqueuedAt: at(micros), ID: id}
	}
	return page, nil
}

func matches(q task.Query, r *task.Record) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	return is(q.Owner, r.Owner) && is(q.Status, r.Status) && is(q.QueueName, r.QueueName) &&
		is(q.Backend, r.Backend) && is(q.TaskName, r.TaskName)
}
