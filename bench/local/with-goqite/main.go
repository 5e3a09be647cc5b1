// Command with-goqite is goqite on SQLite behind the rig's handler, and its runner
// in the same process, as goqite is meant to be used. Its arguments are a
// directory and a ledger's URL.
package main

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite"

	"github.com/go-json-experiment/json"
	"maragu.dev/goqite"
	"maragu.dev/goqite/jobs"

	"github.com/taskgate/taskgate/bench/local/rig"
)

func main() {
	if err := run(context.Background(), os.Args[1], rig.Ledger(os.Args[2])); err != nil {
		log.Fatal(err)
	}
}

// schema is goqite's own schema_sqlite.sql (MIT licence), which it leaves to its
// user to apply.
//
//go:embed schema.sql
var schema string

func run(ctx context.Context, dir string, ledger rig.Ledger) error {
	db, err := sql.Open("sqlite", filepath.Join(dir, "data")+
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var tables int
	err = db.QueryRow(`SELECT count(*) FROM sqlite_master WHERE name = 'goqite'`).Scan(&tables)
	if err == nil && tables == 0 {
		_, err = db.Exec(schema)
	}
	if err != nil {
		return err
	}
	// By default a job is given up, in silence, after 3 deliveries: a few kills.
	queue := goqite.New(goqite.NewOpts{DB: db, Name: "tasks", MaxReceive: 25})
	runner := jobs.NewRunner(jobs.NewRunnerOpts{Queue: queue, Limit: 64, PollInterval: 10 * time.Millisecond})
	runner.Register("mark", func(ctx context.Context, args []byte) error { return ledger.Mark(ctx, args) })
	go runner.Start(ctx)
	return rig.Serve(func(string) http.Handler { return rig.Handler(peer{queue}) })
}

type peer struct{ queue *goqite.Queue }

// Enqueue knows no keys: a repeated request is another job.
func (p peer) Enqueue(ctx context.Context, t rig.Task) (string, error) {
	args, err := json.Marshal(t.Args)
	if err != nil {
		return "", err
	}
	id, err := jobs.Create(ctx, p.queue, t.Name, goqite.Message{Body: args})
	return string(id), err
}

func (peer) EnqueueBatch(context.Context, []rig.Task) (int, error) {
	return 0, errors.New("goqite has no batch")
}
