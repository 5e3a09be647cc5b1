package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
)

// serve is a candidate's server. It prints its URL once it is ready.
func serve(name string) error {
	handlers := map[string]func(context.Context) (http.Handler, error){
		"no store": noStore, "asynq": asynqHandler, "river": riverHandler,
	}
	handler, err := handlers[name](context.Background())
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + listener.Addr().String())
	return http.Serve(listener, handler)
}

// nothing is a store and a queue that keep nothing: what is left is HTTP,
// validation and the answer.
type nothing struct{}

func (nothing) Create(context.Context, *task.Record) (*task.Record, error) { return nil, nil }
func (nothing) Get(context.Context, string) (*task.Record, error) {
	return nil, task.Errorf(task.NotStored, "nothing is")
}
func (nothing) Replace(context.Context, *task.Record) error             { return nil }
func (nothing) List(context.Context, task.Query) (p task.Page, _ error) { return p, nil }
func (nothing) Limits(context.Context, string, time.Duration) task.Limits {
	return task.Limits{Route: "nowhere", SupportsDefer: true}
}
func (nothing) Dispatch(context.Context, task.Outgoing) (r task.Receipt, _ error) { return r, nil }
func (nothing) Cancel(context.Context, task.Sent) error                           { return nil }

func noStore(context.Context) (http.Handler, error) {
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	return httpapi.New(httpapi.Config{
		Service: &task.Service{
			Store:    nothing{},
			Backends: map[string]task.Backend{"default": {Dispatcher: nothing{}, Target: "nowhere", DefaultQueue: "default"}},
			Tokens:   task.Tokens{Secrets: [][]byte{make([]byte, 32)}}, ResultTTL: time.Hour, MaxPayloadBytes: 1 << 20,
			Now: time.Now, NewID: task.NewID, Log: log,
		},
		Auth: httpapi.Open, PublicURL: "http://127.0.0.1", Log: log,
	}), nil
}

// job is what the peers enqueue: the request as it came.
type job struct {
	Body json.RawMessage `json:"body"`
}

func (job) Kind() string { return "job" }

// post answers POSTs with 202 and the id that enqueue returns.
func post(enqueue func(context.Context, []byte) (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		id := ""
		if err == nil && json.Valid(body) {
			id, err = enqueue(r.Context(), body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"id":%q}`, id)
	}
}

func asynqHandler(context.Context) (http.Handler, error) {
	redis := asynq.NewClient(asynq.RedisClientOpt{Addr: os.Getenv("PEERS_REDIS"), PoolSize: 64})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/tasks", post(func(ctx context.Context, body []byte) (string, error) {
		info, err := redis.EnqueueContext(ctx, asynq.NewTask("job", body), asynq.ProcessIn(time.Hour))
		if err != nil {
			return "", err
		}
		return info.ID, nil
	}))
	return mux, nil
}

func riverHandler(ctx context.Context) (http.Handler, error) {
	pool, err := pgxpool.New(ctx, os.Getenv("PEERS_POSTGRES")+"&pool_max_conns=32")
	if err != nil {
		return nil, err
	}
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	queue, err := river.NewClient(driver, &river.Config{})
	if err != nil {
		return nil, err
	}
	later := func() *river.InsertOpts { return &river.InsertOpts{ScheduledAt: time.Now().Add(time.Hour)} }
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/tasks", post(func(ctx context.Context, body []byte) (string, error) {
		inserted, err := queue.Insert(ctx, job{body}, later())
		if err != nil {
			return "", err
		}
		return fmt.Sprint(inserted.Job.ID), nil
	}))
	mux.HandleFunc("POST /v1/tasks/batch", post(func(ctx context.Context, body []byte) (string, error) {
		var batch struct{ Tasks []json.RawMessage }
		if err := json.Unmarshal(body, &batch); err != nil {
			return "", err
		}
		params := make([]river.InsertManyParams, len(batch.Tasks))
		for i, body := range batch.Tasks {
			params[i] = river.InsertManyParams{Args: job{body}, InsertOpts: later()}
		}
		_, err := queue.InsertMany(ctx, params)
		return "many", err
	}))
	return mux, nil
}
