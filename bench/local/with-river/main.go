// Command with-river is River behind the rig's handler. Its arguments are the
// URL of a PostgreSQL database, which it empties, and perhaps one of
//
//	copy         batches go by InsertManyFast instead of InsertMany
//	keep         what is in the database stays
//	work LEDGER  it is a worker that marks jobs in the ledger at that URL
package main

import (
	"context"
	"log"
	"log/slog"
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
	"github.com/riverqueue/river/rivertype"

	"github.com/taskgate/taskgate/bench/local/rig"
)

func main() {
	if err := run(context.Background(), os.Args[1], append(os.Args[2:], "")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string, how []string) error {
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
	if how[0] == "work" {
		return work(ctx, driver, rig.Ledger(how[1]))
	}
	for _, sql := range []string{"TRUNCATE river_job", "CHECKPOINT"} {
		if how[0] == "keep" {
			break
		}
		if _, err := pool.Exec(ctx, sql); err != nil {
			return err
		}
	}
	client, err := river.NewClient(driver, &river.Config{}) // inserts only: no queues, no workers
	if err != nil {
		return err
	}
	return rig.Serve(func(string) http.Handler { return rig.Handler(peer{client, how[0] == "copy"}) })
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
	var options *river.InsertOpts
	if t.Key != "" { // its own way to know a repeated job: the arguments, which name it
		options = &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true}}
	}
	r, err := p.client.Insert(ctx, args{t.Name, t.Args, t.Kwargs}, options)
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

// marker works jobs of the kind mark.
type marker struct {
	river.WorkerDefaults[marked]
	ledger rig.Ledger
}

type marked struct {
	Args jsontext.Value `json:"args"`
}

// Kind implements [river.JobArgs].
func (marked) Kind() string { return "mark" }

func (m marker) Work(ctx context.Context, job *river.Job[marked]) error {
	return m.ledger.Mark(ctx, job.Args.Args)
}

// soon retries after a second.
type soon struct{}

func (soon) NextRetry(*rivertype.JobRow) time.Time { return time.Now().Add(time.Second) }

// work runs a worker with River's defaults, but that it takes up soon what was
// left lying, and not after an hour.
func work(ctx context.Context, driver *riverpgxv5.Driver, ledger rig.Ledger) error {
	workers := river.NewWorkers()
	river.AddWorker(workers, marker{ledger: ledger})
	client, err := river.NewClient(driver, &river.Config{
		Queues:               map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 64}},
		Workers:              workers,
		JobTimeout:           5 * time.Second,
		RescueStuckJobsAfter: 10 * time.Second,
		RetryPolicy:          soon{},
		FetchCooldown:        20 * time.Millisecond,
		FetchPollInterval:    100 * time.Millisecond,
		Logger:               slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	<-client.Stopped()
	return nil
}
