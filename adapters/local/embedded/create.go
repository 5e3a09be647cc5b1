package embedded

import (
	"context"
	"errors"
	"strconv"

	"github.com/cockroachdb/pebble/v2"

	"github.com/taskgate/taskgate/core/task"
)

// creation is one record to create, and the outcome.
type creation struct {
	*task.Record
	message *task.Outgoing // stored in the same commit; nil = none
	entry   entry          // the state of the message
	head    []byte         // the encoded head of the message

	value    []byte       // the encoded record
	existing *task.Record // the record that already has the id; nil = none
	err      error        // create skips a creation that already has an error
}

// firstRevision is the revision of a new record.
const firstRevision = 1

// create stores the records whose ids are new, and their messages, in one commit.
// If several records have the same id, create stores the first; for the others
// that one is the existing record.
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

// createNew does the work of create. The caller holds the locks of all ids. The
// error concerns the whole commit.
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

// store adds c's record, index and message to b.
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

// size estimates how many bytes c takes in a batch.
func (c *creation) size() int {
	const keys = 512
	n := keys + len(c.value) + len(c.head)
	if c.message != nil {
		n += len(c.message.Body)
	}
	return n
}
