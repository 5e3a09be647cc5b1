// Command with-river is River behind the rig's handler. Its arguments are the
// URL of a PostgreSQL database, which it empties, and "copy" for batches by
// InsertManyFast instead of InsertMany.
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/taskgate/taskgate/bench/local/rig"
)

func main() {
	if err := run(context.Background(), os.Args[1], len(os.Args) > 2); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string, byCopy bool) error {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if err = pool.Ping(ctx); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		return err
	}
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	for _, sql := range []string{"TRUNCATE river_job", "CHECKPOINT"} {
		if _, err := pool.Exec(ctx, sql); err != nil {
			return err
		}
	}
	client, err := river.NewClient(driver, &river.Config{}) // inserts only: no queues, no workers
	if err != nil {
		return err
	}
	return rig.Serve(func(string) http.Handler { return rig.Handler(peer{client, byCopy}) })
}

type peer struct {
	client *river.Client[pgx.Tx]
	byCopy bool
}

// args are a job's, of the kind that the task names.
type args struct {
	name   string
	Args   jsontext.Value `json:"args"`
	Kwargs jsontext.Value `json:"kwargs"`
}

// Kind implements [river.JobArgs].
func (a args) Kind() string { return a.name }

func (p peer) Enqueue(ctx context.Context, t rig.Task) (string, error) {
	r, err := p.client.Insert(ctx, args{t.Name, t.Args, t.Kwargs}, nil)
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(r.Job.ID, 10), nil
}

func (p peer) EnqueueBatch(ctx context.Context, ts []rig.Task) (int, error) {
	params := make([]river.InsertManyParams, len(ts))
	for i, t := range ts {
		params[i].Args = args{t.Name, t.Args, t.Kwargs}
	}
	if p.byCopy {
		return p.client.InsertManyFast(ctx, params)
	}
	rs, err := p.client.InsertMany(ctx, params)
	return len(rs), err
}
