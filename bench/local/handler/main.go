// Command handler is taskgate's own handler and service in a process without
// the rest of functions/local: with no store, which is the floor that HTTP and
// JSON set, or over the embedded store with a CPU profile, which the product's
// binary does not offer.
//
//	handler none
//	handler embedded dir profile
package main

import (
	"context"
	"log"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/bench/local/rig"
	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(args []string) error {
	debug.SetGCPercent(200) // as functions/local does
	if args[0] == "none" {
		return rig.Serve(func(url string) http.Handler { return handler(url, nothing{}, nothing{}) })
	}
	db, err := embedded.Open(args[1], embedded.Options{})
	if err != nil {
		return err
	}
	defer db.Close()
	f, err := os.Create(args[2])
	if err != nil {
		return err
	}
	defer f.Close()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return rig.Serve(func(url string) http.Handler {
		return handler(url, db, db.Dispatcher("default", embedded.DispatcherOptions{}))
	})
}

// handler wires the service as functions/local does.
func handler(url string, s task.Store, d task.Dispatcher) http.Handler {
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	return httpapi.New(httpapi.Config{
		Service: &task.Service{
			Store:           s,
			Backends:        map[string]task.Backend{"default": {Dispatcher: d, Target: "local", DefaultQueue: "default"}},
			Tokens:          task.Tokens{Secrets: [][]byte{[]byte(strings.Repeat("s", task.MinSecretBytes))}},
			ResultTTL:       7 * 24 * time.Hour,
			MaxWait:         20 * time.Second,
			MaxPayloadBytes: 1 << 20,
			Now:             time.Now,
			NewID:           task.NewID,
			Log:             logger,
		},
		Auth:      httpapi.AllowAll,
		PublicURL: url,
		Log:       logger,
	})
}

// nothing is a store and a dispatcher that accept everything and keep none of
// it. Whatever is asked for is a finished task.
type nothing struct{}

func (nothing) Create(context.Context, *task.Record) (*task.Record, error) { return nil, nil }

func (nothing) Replace(context.Context, *task.Record) error { return nil }

func (nothing) List(context.Context, task.Query) (task.Page, error) { return task.Page{}, nil }

func (nothing) Get(_ context.Context, id string) (*task.Record, error) {
	now := task.At(time.Now())
	return &task.Record{
		ID: id, Revision: "1", TaskName: "echo", Status: task.Successful,
		EnqueuedAt: now, StartedAt: now, FinishedAt: now, LastAttemptedAt: now,
		Args: `["user@example.com","welcome","` + strings.Repeat("x", 100) + `"]`, Kwargs: `{"order":12345678901234567890}`,
		Backend: "default", QueueName: "default", WorkerIDs: []string{"worker"},
		ReturnValue: `{"args":["` + strings.Repeat("x", 150) + `"]}`,
		Dispatch:    task.Dispatch{Target: "local", Route: "local"},
		Owner:       "local", DeleteAfter: now.Plus(time.Hour),
	}, nil
}

func (nothing) Limits(context.Context, string, time.Duration) task.Limits {
	return task.Limits{Route: "local", SupportsDefer: true, SupportsCancel: true}
}

func (nothing) Dispatch(context.Context, task.Outgoing) (task.Receipt, error) {
	return task.Receipt{}, nil
}

func (nothing) CreateAndDispatch(_ context.Context, entries []task.Entry) []task.EntryResult {
	return make([]task.EntryResult, len(entries))
}

func (nothing) Cancel(context.Context, task.Sent) error { return nil }
