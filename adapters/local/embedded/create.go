package embedded

import (
	"context"
	"errors"
	"strconv"

	"github.com/cockroachdb/pebble/v2"

	"github.com/taskgate/taskgate/core/task"
)

// creation is a record on its way into the database, and what became of it.
type creation struct {
	*task.Record
	message *task.Outgoing // queued in the same commit; nil = none
	entry   entry          // of the message
	head    []byte         // of the message

	value    []byte
	existing *task.Record
	err      error // set already = it is not tried
}

// firstRevision is what every record has when it is new.
const firstRevision = 1

// create stores, in one commit, those records whose ids are new, and their
// messages. Of several with one id the first is stored and the others find it.
func (d *DB) create(ctx context.Context, cs ...*creation) {
	ids, size := make([]string, 0, len(cs)), 0
	for _, c := range cs {
		if c.err != nil {
			continue
		}
		if c.value, c.err = encodeRecord(c.Record, firstRevision); c.err == nil {
			ids = append(ids, c.ID)
			size += c.size()
		}
	}
	end, err := d.admit(ctx)
	if err == nil {
		defer end()
		defer d.locks.lock(ids...)()
		err = d.createNew(cs, size)
	}
	if err == nil {
		return
	}
	for _, c := range cs {
		if c.err == nil && c.existing == nil {
			c.err = unavailable("create", c.ID, err)
		}
	}
}

// createNew does so under the locks. Its error is that of the commit.
func (d *DB) createNew(cs []*creation, size int) error {
	b := d.pebble.NewBatchWithSize(size)
	first := make(map[string]*creation, len(cs))
	var queued []entry
	for _, c := range cs {
		if c.err != nil || first[c.ID] != nil {
			continue
		}
		var ix index
		var found bool
		var err error
		if !c.Fresh {
			ix, found, err = d.index(c.ID)
		}
		switch {
		case err != nil:
			c.err = unavailable("create", c.ID, err)
		case found:
			c.existing, c.err = d.record(ix.EnqueuedAt, c.ID)
		default:
			first[c.ID] = c
			if err := d.store(b, c); err != nil {
				return errors.Join(err, b.Close())
			}
			if c.message != nil {
				queued = append(queued, c.entry)
			}
		}
	}
	if len(first) == 0 {
		return b.Close()
	}
	if err := d.commit(b, true); err != nil {
		return err
	}
	d.added(queued...)
	for _, c := range cs {
		switch stored := first[c.ID]; {
		case c.err != nil || stored == nil:
		case stored == c:
			c.Revision = strconv.Itoa(firstRevision)
		default:
			c.existing, c.err = decodeRecord(stored.value)
		}
	}
	return nil
}

// store adds to b what is stored of c.
func (d *DB) store(b *pebble.Batch, c *creation) error {
	ix := index{EnqueuedAt: c.EnqueuedAt.UnixMicro(), DeleteAfter: c.DeleteAfter.UnixMicro(), Revision: firstRevision}
	err := errors.Join(
		b.Set(idKey(indexKey, c.ID), ix.encode(), nil),
		b.Set(timeKey(recordKey, ix.EnqueuedAt, c.ID), c.value, nil))
	if c.message != nil {
		err = errors.Join(err, d.setMessage(b, *c.message, c.head), d.put(b, c.ID, entry{}, c.entry))
	}
	return err
}

// size is about what c takes in a batch.
func (c *creation) size() int {
	const keys = 512
	n := keys + len(c.value) + len(c.head)
	if c.message != nil {
		n += len(c.message.Body)
	}
	return n
}
