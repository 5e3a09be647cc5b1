package embedded

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/core/task"
)

// MaxRecordBytes is the maximum size of a record as JSON. It has room for about
// 1 MiB of arguments and 1 MiB of return value.
const MaxRecordBytes = 2 << 20

// Create implements [task.Store].
func (d *DB) Create(ctx context.Context, r *task.Record) (existing *task.Record, err error) {
	c := &creation{Record: r}
	d.create(ctx, c)
	return c.existing, c.err
}

// Get implements [task.Store].
func (d *DB) Get(ctx context.Context, id string) (*task.Record, error) {
	end, err := d.begin(ctx, "get", id)
	if err != nil {
		return nil, err
	}
	defer end()
	defer d.locks.rlock(id)()

	ix, found, err := d.index(id)
	if err != nil {
		return nil, unavailable("get", id, err)
	}
	if !found {
		return nil, task.Errorf(task.NotStored, "there is no record of this task")
	}
	return d.record(ix.EnqueuedAt, id)
}

// Replace implements [task.Store].
func (d *DB) Replace(ctx context.Context, r *task.Record) error {
	return d.ReplaceAndMove(ctx, r, task.MoveNone)
}

// ReplaceAndMove implements [task.MessageStore].
func (d *DB) ReplaceAndMove(ctx context.Context, r *task.Record, m task.Move) error {
	revision, err := strconv.ParseUint(r.Revision, 10, 64)
	if err != nil {
		return task.Errorf(task.Conflict, "the revision of the record is not valid")
	}
	value, err := encodeRecord(r, revision+1)
	if err != nil {
		return err
	}
	end, err := d.begin(ctx, "replace", r.ID)
	if err != nil {
		return err
	}
	defer end()
	defer d.locks.lock(r.ID)()

	old, found, err := d.index(r.ID)
	if err != nil {
		return unavailable("replace", r.ID, err)
	}
	if !found || old.Revision != revision {
		return task.Errorf(task.Conflict, "the record has been changed or deleted")
	}
	b := d.pebble.NewBatch()
	ix := index{EnqueuedAt: r.EnqueuedAt.UnixMicro(), DeleteAfter: r.DeleteAfter.UnixMicro(), Revision: revision + 1}
	var moved func()
	if ix.EnqueuedAt != old.EnqueuedAt {
		moved, err = d.takeOver(b, r.ID, old)
	} else {
		moved, err = d.move(b, r, m)
	}
	err = errors.Join(err,
		b.Set(idKey(indexKey, r.ID), ix.encode(), nil),
		b.Set(timeKey(recordKey, ix.EnqueuedAt, r.ID), value, nil))
	if err == nil {
		err = d.commit(b, true)
	}
	if err != nil {
		return unavailable("replace", r.ID, err)
	}
	moved()
	d.notify(r.ID)
	r.Revision = strconv.FormatUint(ix.Revision, 10)
	return nil
}

// takeOver prepares an id for a new task. It adds the removal of the old task's
// record, message and dead letter to b. Without that, they would count as those of
// the new task.
func (d *DB) takeOver(b *pebble.Batch, id string, old index) (moved func(), err error) {
	_, err = d.removeEntry(b, id)
	return func() { d.forget(id) }, errors.Join(err, b.Delete(timeKey(recordKey, old.EnqueuedAt, id), nil))
}

func encodeRecord(r *task.Record, revision uint64) ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, &task.Error{Kind: task.Internal, Msg: "cannot encode the record", Err: err, TaskID: r.ID}
	}
	if len(data) > MaxRecordBytes {
		return nil, task.Errorf(task.Oversize, "the record has %d bytes; the local store accepts at most %d", len(data), MaxRecordBytes)
	}
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(data)), revision), data...), nil
}

func decodeRecord(value []byte) (*task.Record, error) {
	r := &task.Record{Revision: strconv.FormatUint(binary.BigEndian.Uint64(value), 10)}
	if err := json.Unmarshal(value[8:], r); err != nil {
		return nil, err
	}
	return r, nil
}

// record reads the record of an index entry.
func (d *DB) record(enqueuedAt int64, id string) (r *task.Record, err error) {
	found, err := d.read(timeKey(recordKey, enqueuedAt, id), func(v []byte) (err error) {
		r, err = decodeRecord(v)
		return err
	})
	if err == nil && !found {
		err = errors.New("the database has the index of the record but not the record")
	}
	if err != nil {
		return nil, &task.Error{Kind: task.Unavailable, Msg: "the record cannot be read", TaskID: id, Err: fmt.Errorf("embedded: read %s: %w", id, err)}
	}
	return r, nil
}

func (d *DB) index(id string) (ix index, found bool, err error) {
	found, err = d.read(idKey(indexKey, id), func(v []byte) error { return decode(v, &ix) })
	return ix, found, err
}

// read calls f with the value of key, if there is one. f must not keep the value.
func (d *DB) read(key []byte, f func(value []byte) error) (found bool, err error) {
	value, closer, err := d.pebble.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, errors.Join(f(value), closer.Close())
}

func decode(data []byte, v any) error {
	_, err := binary.Decode(data, binary.BigEndian, v)
	return err
}
