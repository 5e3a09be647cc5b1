// Command with-sqlite is the candidate SQLite (modernc.org/sqlite, without cgo)
// with synchronous=FULL and one committer.
package main

import (
	"database/sql"
	"path/filepath"

	_ "modernc.org/sqlite"

	"github.com/taskgate/taskgate/bench/embedded/rig"
)

type store struct {
	*rig.Committer
	db *sql.DB
}

func main() {
	rig.Main(func(dir string) (rig.Store, error) {
		db, err := sql.Open("sqlite", filepath.Join(dir, "data")+
			"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-2048)")
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(1)
		_, err = db.Exec(`CREATE TABLE IF NOT EXISTS records (id TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID;
			CREATE TABLE IF NOT EXISTS queue (due INTEGER, id TEXT, body BLOB, PRIMARY KEY (due, id)) WITHOUT ROWID`)
		if err != nil {
			return nil, err
		}
		record, err := db.Prepare(`INSERT INTO records VALUES (?, ?)`)
		if err != nil {
			return nil, err
		}
		message, err := db.Prepare(`INSERT INTO queue VALUES (?, ?, ?)`)
		return store{rig.NewCommitter(func(tasks []rig.Task) error { return put(db, record, message, tasks) }), db}, err
	})
}

func put(db *sql.DB, record, message *sql.Stmt, tasks []rig.Task) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	record, message = tx.Stmt(record), tx.Stmt(message)
	for _, t := range tasks {
		if _, err := record.Exec(t.ID, t.Record); err != nil {
			return err
		}
		if _, err := message.Exec(t.Due, t.ID, t.Message); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// Close implements rig.Store.
func (s store) Close() error {
	s.Stop()
	return s.db.Close()
}
