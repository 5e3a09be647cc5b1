package embedded

import (
	"context"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// sweepChunk is how many records the sweep examines in one operation. Close waits
// for one operation only.
const sweepChunk = 1000

// startSweeping calls Sweep at intervals until Close.
func (d *DB) startSweeping(every time.Duration) {
	if every < 0 {
		return
	}
	if every == 0 {
		every = 10 * time.Minute
	}
	d.sweeping.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-d.stopped.Done():
				return
			case <-ticker.C:
				_, _ = d.Sweep(d.stopped) // the next sweep retries; Failed reports a failed disk
			}
		}
	})
}

// Sweep deletes the records whose DeleteAfter has passed, and their messages. It
// returns the number of deleted records. To find them it reads only the index,
// about 60 bytes per record, in chunks. If a crash undoes a deletion, the next
// sweep repeats the deletion.
func (d *DB) Sweep(ctx context.Context) (deleted int, err error) {
	next := []byte{indexKey}
	for next != nil && err == nil {
		var gone []string
		if gone, next, err = d.expiredIDs(ctx, next); err != nil {
			return deleted, err
		}
		for _, id := range gone {
			swept, err := d.sweepOne(ctx, id)
			if err != nil {
				return deleted, err
			}
			if swept {
				deleted++
			}
		}
	}
	return deleted, err
}

// expiredIDs returns the expired ids of one chunk of the index, and the key at which
// the next chunk starts; nil = there is no more.
func (d *DB) expiredIDs(ctx context.Context, from []byte) (ids []string, next []byte, err error) {
	end, err := d.begin(ctx, "sweep", "")
	if err != nil {
		return nil, nil, err
	}
	defer end()
	it, err := d.pebble.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: []byte{indexKey + 1}})
	if err != nil {
		return nil, nil, unavailable("sweep", "", err)
	}
	now, examined := d.now().UnixMicro(), 0
	for it.First(); it.Valid(); it.Next() {
		if examined++; examined > sweepChunk {
			next = append(next, it.Key()...)
			break
		}
		var ix index
		value, err := it.ValueAndErr()
		if err == nil {
			err = decode(value, &ix)
		}
		if err != nil {
			return nil, nil, unavailable("sweep", "", errors.Join(err, it.Close()))
		}
		if ix.DeleteAfter <= now {
			ids = append(ids, string(it.Key()[1:]))
		}
	}
	if err := it.Close(); err != nil {
		return nil, nil, unavailable("sweep", "", err)
	}
	return ids, next, nil
}

// sweepOne deletes the record if it is still expired.
func (d *DB) sweepOne(ctx context.Context, id string) (swept bool, err error) {
	end, err := d.begin(ctx, "sweep", id)
	if err != nil {
		return false, err
	}
	defer end()
	defer d.locks.lock(id)()
	ix, found, err := d.index(id)
	if err != nil || !found || ix.DeleteAfter > d.now().UnixMicro() {
		return false, err
	}
	b := d.pebble.NewBatch()
	_, err = d.removeEntry(b, id)
	err = errors.Join(err,
		b.Delete(idKey(indexKey, id), nil),
		b.Delete(timeKey(recordKey, ix.EnqueuedAt, id), nil))
	if err == nil {
		err = d.commit(b, false)
	}
	if err != nil {
		return false, unavailable("sweep", id, err)
	}
	d.forget(id)
	d.notify(id)
	return true, nil
}
