// Command with-pebble is the candidate pebble, with its own group commit.
package main

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"

	"github.com/taskgate/taskgate/bench/embedded/rig"
)

type store struct{ *pebble.DB }

type quiet struct{ pebble.Logger }

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}

func main() {
	rig.Main(func(dir string) (rig.Store, error) {
		o := &pebble.Options{
			Logger: quiet{pebble.DefaultLogger}, FormatMajorVersion: pebble.FormatTableFormatV6,
			CacheSize: 2 << 20, MemTableSize: 4 << 20, MaxOpenFiles: 256,
		}
		db, err := pebble.Open(dir, o)
		return store{db}, err
	})
}

// Enqueue implements rig.Store.
func (s store) Enqueue(t rig.Task) error {
	b := s.NewBatch()
	defer b.Close()
	due := binary.BigEndian.AppendUint64([]byte{'q'}, uint64(t.Due))
	if err := b.Set(append([]byte{'r'}, t.ID...), t.Record, nil); err != nil {
		return err
	}
	if err := b.Set(append(due, t.ID...), t.Message, nil); err != nil {
		return err
	}
	return b.Commit(pebble.Sync)
}
