package dispatchtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
	"github.com/taskgate/taskgate/core/worker"
)

var offloadCases = []Case{
	{"a worker has its arguments whole on either side of the message's limit", argumentsArriveWhole},
}

// plain hides what a dispatcher has beside the Dispatcher.
type plain struct{ task.Dispatcher }

// inProcess asks a handler without a socket.
type inProcess struct{ http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result(), nil
}

// argumentsArriveWhole goes the whole way, from the service to a handler of
// core/worker: with a message of exactly the target's limit, and with one that
// would be a byte longer and goes without its arguments.
func argumentsArriveWhole(ctx context.Context, s Subject) error {
	const base = "https://tasks.example.com"
	store := &tasktest.Store{}
	service := &task.Service{
		Store:     store,
		Backends:  map[string]task.Backend{"default": {Dispatcher: plain{s.Dispatcher}, Target: "subject", DefaultQueue: s.Queue}},
		Tokens:    task.Tokens{Secrets: [][]byte{[]byte(strings.Repeat("s", task.MinSecretBytes))}},
		ResultTTL: time.Hour, MaxPayloadBytes: 4 << 20, Now: s.now, NewID: task.NewID, Log: slog.New(slog.DiscardHandler),
	}
	var got json.RawMessage
	w, err := worker.New(worker.Config{
		EventsBase: base, Log: service.Log,
		Client: &http.Client{Transport: inProcess{httpapi.New(httpapi.Config{Service: service, Auth: httpapi.Keys(nil), PublicURL: base, Log: service.Log})}},
		Handler: worker.HandlerFunc(func(_ context.Context, t *worker.Task) (any, error) {
			got = t.RawArgs
			return nil, nil
		}),
	})
	if err != nil {
		return err
	}
	now := s.Dispatcher.Limits(ctx, s.Queue, 0)
	if now.MaxMessageBytes == nil {
		return inapplicable("the target's limit is not known")
	}
	for _, after := range []time.Duration{0, delay} {
		limits := s.Dispatcher.Limits(ctx, s.Queue, after)
		if after > 0 && (!limits.SupportsDefer || limits.Route == now.Route) {
			return nil // the same way
		}
		room := 0 // for what is in the one argument
		for _, beyond := range []int{-1, 0, 1} {
			args := `["` + strings.Repeat("x", max(0, room+beyond)) + `"]`
			a, err := service.Enqueue(ctx, task.Call{Owner: "alice", BaseURL: base}, task.Request{
				TaskName: "app.tasks.send", Backend: "default", Args: jsontext.Value(args), Kwargs: jsontext.Value("{}"), RunAfter: dueAfter(s, after),
			})
			if err != nil {
				return fmt.Errorf("%d bytes beyond the limit: %w", beyond, err)
			}
			if after > 0 {
				if err := s.waitUntil(ctx, a.Task.RunAfter.Add(s.late())); err != nil {
					return err
				}
			}
			d, err := s.delivered(ctx, a.Task.ID)
			if err != nil {
				return fmt.Errorf("%d bytes beyond the limit: %w", beyond, err)
			}
			if room == 0 { // the first, which is small, tells what surrounds the argument
				room = int(*limits.MaxMessageBytes) - len(d.Body)
			}
			got = nil
			outcome := w.Process(ctx, worker.Delivery{Body: d.Body, Attributes: d.Attributes})
			r, err := store.Get(ctx, a.Task.ID)
			switch {
			case err != nil:
				return err
			case !outcome.Acknowledge || r.Status != task.Successful || string(got) != args:
				return fmt.Errorf("%d bytes beyond the limit, the task is %s, and its handler had %s", beyond, r.Status, clip(got))
			case r.Offloaded != (beyond > 0):
				return fmt.Errorf("%d bytes beyond the limit, a message of %d bytes: offloaded is %t", beyond, len(d.Body), r.Offloaded)
			}
		}
	}
	return nil
}

func dueAfter(s Subject, after time.Duration) (t task.Time) {
	if after > 0 {
		t = task.At(s.now().Add(after))
	}
	return t
}

// delivered receives until the message of that id comes.
func (s Subject) delivered(ctx context.Context, id string) (Delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience()+s.late())
	defer cancel()
	for {
		d, err := s.Receive(ctx)
		if err != nil {
			return Delivery{}, errors.Join(errors.New("the message has not arrived"), err)
		}
		if bytes.Contains(d.Body, []byte(id)) {
			return d, nil
		}
	}
}
