package main

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/adapters/local/push"
	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/worker"
	"github.com/taskgate/taskgate/functions/demo"
	"github.com/taskgate/taskgate/functions/settings"
	"github.com/taskgate/taskgate/functions/wiring"
)

// maxPayloadBytes is what the embedded store holds of args, kwargs and metadata.
const maxPayloadBytes = 1 << 20

// api wires the service over the embedded database.
func (c config) api(db *embedded.DB, log *slog.Logger) httpapi.Config {
	backends := map[string]task.Backend{}
	for _, b := range c.Backends {
		options := b.Options.(*settings.LocalOptions) // the only kind that this main serves
		backends[b.Alias] = wiring.Backend(b, "local", db.Dispatcher(options.MaxDeliveries))
	}
	return wiring.API(c.Service, db, maxPayloadBytes, backends, log)
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
