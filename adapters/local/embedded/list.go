package embedded

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/taskgate/taskgate/core/task"
)

// The maximum number and size of the records that one page of a listing reads. With
// a filter that matches few records, or with large records, a page is therefore
// short, and no request takes long.
const (
	maxExamined      = 1000
	maxExaminedBytes = 4 << 20
)

// List implements [task.Store]. It may return a change that is not on disk yet.
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
