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

// layout is the version of this build's keys and values. A database without a
// version has layout 1. In layout 1, all queues shared one index.
const layout = 2

// upgradeChunk is how many messages one commit of an upgrade covers.
const upgradeChunk = 1000

// upgrade converts the database to this build's layout. If the process ends during
// an upgrade, the next Open continues with the messages that are left.
func (d *DB) upgrade() error {
	version := 1
	if _, err := d.read([]byte{versionKey}, func(v []byte) error { version = int(v[0]); return nil }); err != nil {
		return err
	}
	switch {
	case version == layout:
		return nil
	case version > layout:
		return fmt.Errorf("a newer taskgate wrote this database in layout %d; this one reads up to layout %d", version, layout)
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

// upgradeMessages converts the next messages and adds them to b. It returns the key
// at which the rest starts; nil = there is no more.
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
			continue // an earlier, interrupted upgrade has converted it
		}
		if err := d.upgradeMessage(b, string(it.Key()[1:]), value); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// In layout 1, the keys of all waiting messages and due reports began with q, and
// had the instant and the id. An entry had Due, DeadAt, Deliveries and Reports.
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
