package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/adapters/local/push"
	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/worker"
	"github.com/taskgate/taskgate/functions/demo"
	"github.com/taskgate/taskgate/functions/settings"
)

// maxPayloadBytes is what the embedded store holds of args, kwargs and metadata.
const maxPayloadBytes = 1 << 20

// api wires the service and the handler over it.
func (c config) api(db *embedded.DB, log *slog.Logger) httpapi.Config {
	backends := map[string]task.Backend{}
	for _, b := range c.Backends {
		options := b.Options.(*settings.LocalOptions) // the only kind that this main serves
		backends[b.Alias] = task.Backend{
			Dispatcher:   db.Dispatcher(options.MaxDeliveries),
			Target:       "local",
			Queues:       b.Queues,
			DefaultQueue: b.DefaultQueue,
			Plain:        b.Plain,
		}
	}
	auth := httpapi.Auth(httpapi.Open)
	if c.Auth == settings.AuthKeys {
		auth = httpapi.Keys(c.APIKeys)
	}
	return httpapi.Config{
		Service: &task.Service{
			Store:           db,
			Backends:        backends,
			Tokens:          task.Tokens{Secrets: c.TokenSecrets},
			ResultTTL:       c.ResultTTL,
			MaxWait:         c.MaxWait,
			MaxPayloadBytes: maxPayloadBytes,
			Now:             time.Now,
			NewID:           task.NewID,
			Log:             log,
		},
		Auth:      auth,
		PublicURL: c.PublicURL,
		Log:       log,
	}
}

// pusher wires the queue to the worker: the configured one, or the demo. Either
// way it is this process that finds dead letters, and so reports them: to itself,
// at own, wherever clients reach it by now or did when a message was queued.
func (c config) pusher(db *embedded.DB, own string, log *slog.Logger) (*push.Pusher, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = push.DefaultConcurrency // each delivery reports on its own
	builtIn, err := worker.New(worker.Config{
		Handler: demo.Mux(), EventsBase: own, Rebase: true, Client: &http.Client{Transport: transport}, Log: log,
	})
	if err != nil {
		return nil, err
	}
	p := &push.Pusher{Queue: db, Worker: deliverTo(builtIn.Process), DeadLetters: deliverTo(builtIn.DeadLetter), Log: log}
	if c.workerURL != "" {
		p.Worker = push.NewHTTP(nil, c.workerURL, 0)
	}
	return p, nil
}

// deliverTo gives messages to a worker in this process.
func deliverTo(f func(context.Context, worker.Delivery) worker.Outcome) push.Deliverer {
	return push.DelivererFunc(func(ctx context.Context, d embedded.Delivery) (push.Outcome, error) {
		return push.Outcome(f(ctx, worker.Delivery{Body: d.Body, Attributes: d.Attributes})), nil
	})
}
