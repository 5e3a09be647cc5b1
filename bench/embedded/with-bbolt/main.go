// Command with-bbolt is the candidate bbolt, with one committer.
package main

import (
	"encoding/binary"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/taskgate/taskgate/bench/embedded/rig"
)

type store struct {
	*rig.Committer
	db *bbolt.DB
}

var records, queue = []byte("records"), []byte("queue")

func main() {
	rig.Main(func(dir string) (rig.Store, error) {
		db, err := bbolt.Open(filepath.Join(dir, "data"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType})
		if err != nil {
			return nil, err
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			for _, name := range [][]byte{records, queue} {
				if _, err := tx.CreateBucketIfNotExists(name); err != nil {
					return err
				}
			}
			return nil
		})
		return store{rig.NewCommitter(func(tasks []rig.Task) error {
			return db.Update(func(tx *bbolt.Tx) error { return put(tx, tasks) })
		}), db}, err
	})
}

func put(tx *bbolt.Tx, tasks []rig.Task) error {
	for _, t := range tasks {
		if err := tx.Bucket(records).Put([]byte(t.ID), t.Record); err != nil {
			return err
		}
		due := binary.BigEndian.AppendUint64(nil, uint64(t.Due))
		if err := tx.Bucket(queue).Put(append(due, t.ID...), t.Message); err != nil {
			return err
		}
	}
	return nil
}

// Close implements rig.Store.
func (s store) Close() error {
	s.Stop()
	return s.db.Close()
}
