// Package rig is what the measured processes of this benchmark share: how they
// are started and stopped, and the small HTTP handler that the peers are behind.
package rig

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Serve listens on a free port of loopback, prints its URL and serves the
// handler until the process is told to end.
func Serve(h func(url string) http.Handler) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	url := "http://" + listener.Addr().String()
	server := &http.Server{Handler: h(url)}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Println(url)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}

// Task is what a peer is given to store of a request.
type Task struct {
	Name   string         `json:"task_name"`
	Args   jsontext.Value `json:"args"`
	Kwargs jsontext.Value `json:"kwargs"`
	Key    string         `json:"-"` // of the request, by which a repeated one is known; "" = none
}

// Peer is a queue behind the handler. Its methods return when the tasks are
// durable, as far as the peer can.
type Peer interface {
	Enqueue(ctx context.Context, t Task) (id string, err error)
	EnqueueBatch(ctx context.Context, ts []Task) (n int, err error)
}

// Handler is the least that an HTTP front door does for a peer: it reads a JSON
// body, without any of taskgate's checks, and answers 202 with the id. It logs
// nothing and authenticates nobody.
func Handler(p Peer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/tasks", func(w http.ResponseWriter, r *http.Request) {
		var t Task
		if !read(w, r, &t) {
			return
		}
		t.Key = r.Header.Get("Idempotency-Key")
		id, err := p.Enqueue(r.Context(), t)
		answer(w, http.StatusAccepted, struct {
			ID string `json:"id"`
		}{id}, err)
	})
	mux.HandleFunc("POST /v1/tasks/batch", func(w http.ResponseWriter, r *http.Request) {
		var batch struct {
			Tasks []Task `json:"tasks"`
		}
		if !read(w, r, &batch) {
			return
		}
		n, err := p.EnqueueBatch(r.Context(), batch.Tasks)
		answer(w, http.StatusOK, struct {
			Accepted int `json:"accepted"`
		}{n}, err)
	})
	return mux
}

func read(w http.ResponseWriter, r *http.Request, v any) bool {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, v)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return err == nil
}

func answer(w http.ResponseWriter, status int, v any, err error) {
	var body []byte
	if err == nil {
		body, err = json.Marshal(v)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
