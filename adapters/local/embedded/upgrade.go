package embedded

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-json-experiment/json"
)

// layout is the version of the keys and values of this build. A database
// without a version has layout 1, in which all queues shared one index.
const layout = 2

// upgradeChunk is how many messages of an upgrade are one commit.
const upgradeChunk = 1000

// upgrade brings the database to this build's layout. It may stop at any point:
// the next Open goes on with what is left.
func (d *DB) upgrade() error {
	version := 1
	if _, err := d.read([]byte{versionKey}, func(v []byte) error { version = int(v[0]); return nil }); err != nil {
		return err
	}
	switch {
	case version == layout:
		return nil
	case version > layout:
		return fmt.Errorf("the database has layout %d, of a newer taskgate; this one reads up to %d", version, layout)
	}
	for from := []byte{entryKey}; from != nil; {
		b := d.pebble.NewBatch()
		next, err := d.upgradeMessages(b, from)
		if err == nil {
			err = d.commit(b, true)
		}
		if err != nil {
			return fmt.Errorf("upgrade the queue: %w", err)
		}
		from = next
	}
	return d.pebble.Set([]byte{versionKey}, []byte{layout}, pebble.Sync)
}

// upgradeMessages adds the next messages in today's layout to b, and returns
// where the rest begins; nil = there is none.
func (d *DB) upgradeMessages(b *pebble.Batch, from []byte) (next []byte, err error) {
	it, err := d.pebble.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: []byte{entryKey + 1}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	examined := 0
	for it.First(); it.Valid(); it.Next() {
		if examined++; examined > upgradeChunk {
			return append([]byte(nil), it.Key()...), nil
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		if len(value) != oneIndexEntryBytes {
			continue // upgraded before
		}
		if err := d.upgradeMessage(b, string(it.Key()[1:]), value); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// What layout 1 had: the index of waiting messages and dead letters' reports, by
// instant alone; and of the entry, due, dead_at, deliveries and reports.
const (
	oneIndexKey        = 'q'
	oneIndexEntryBytes = 8 + 8 + 4 + 4
)

func (d *DB) upgradeMessage(b *pebble.Batch, id string, value []byte) error {
	var head struct {
		Queue         string `json:"queue"`
		MaxDeliveries uint32 `json:"max_deliveries"`
	}
	_, err := d.read(idKey(messageKey, id), func(v []byte) error {
		text, _, _ := bytes.Cut(v, []byte("\n"))
		return json.Unmarshal(text, &head)
	})
	if err != nil {
		return err
	}
	r, err := d.Get(context.Background(), id)
	if err != nil {
		return err
	}
	e := entry{lane: lane{Queue: Queue{r.Backend, head.Queue}}}
	e.Due = int64(binary.BigEndian.Uint64(value))
	e.DeadAt = int64(binary.BigEndian.Uint64(value[8:]))
	e.Deliveries = binary.BigEndian.Uint32(value[16:])
	e.Reports = binary.BigEndian.Uint32(value[20:])
	e.MaxDeliveries = head.MaxDeliveries
	err = b.Set(idKey(entryKey, id), e.encode(), nil)
	if e.Due != 0 {
		err = errors.Join(err,
			b.Delete(timeKey(oneIndexKey, e.Due, id), nil),
			b.Set(dueKey(e.prefix(), e.Due, id), nil, nil))
	}
	return err
}
