package main

import (
	"context"
	"log/slog"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/adapters/local/push"
	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/worker"
	"github.com/taskgate/taskgate/functions/demo"
	"github.com/taskgate/taskgate/functions/settings"
	"github.com/taskgate/taskgate/functions/wiring"
)

// maxPayloadBytes is the maximum size of args, kwargs and metadata together.
const maxPayloadBytes = 1 << 20

// api returns the API's configuration, with the embedded database as the store and
// the queue.
func (c config) api(db *embedded.DB, log *slog.Logger) httpapi.Config {
	backends := map[string]task.Backend{}
	for _, b := range c.Backends {
		options := b.Options.(*settings.LocalOptions) // readConfig accepts no other kind of backend
		backends[b.Alias] = wiring.Backend(b, "local", db.Dispatcher(b.Alias, embedded.DispatcherOptions{
			MaxDeliveries: options.MaxDeliveries,
			Receive:       c.pull,
		}))
	}
	return wiring.API(c.Service, db, maxPayloadBytes, backends, log)
}

// pusher returns the pusher to the configured worker, to the demo worker, or to none.
// In each case this process reports the dead letters itself. It sends these reports
// to its own API at the URL own, and not to the URL in the message, because the
// service's public URL may have changed since the message was queued.
func (c config) pusher(db *embedded.DB, own string, log *slog.Logger) (*push.Pusher, error) {
	builtIn, err := worker.New(worker.Config{
		Handler: demo.Mux(), EventsBase: own, Rebase: true, Client: push.NewClient(c.concurrency), Log: log,
	})
	if err != nil {
		return nil, err
	}
	p := &push.Pusher{DB: db, DeadLetters: deliverTo(builtIn.DeadLetter), Concurrency: c.concurrency, Log: log}
	switch {
	case c.pull:
	case c.workerURL != "":
		p.Worker = push.NewHTTP(push.NewClient(c.concurrency), c.workerURL, 0)
	default:
		p.Worker = deliverTo(builtIn.Process)
	}
	return p, nil
}

// deliverTo returns a deliverer to a worker in this process.
func deliverTo(f func(context.Context, worker.Delivery) worker.Outcome) push.Deliverer {
	return push.DelivererFunc(func(ctx context.Context, d embedded.Delivery) (push.Outcome, error) {
		o := f(ctx, worker.Delivery{Body: d.Body, Attributes: d.Attributes})
		return push.Outcome{Acknowledge: o.Acknowledge, Delay: o.Delay}, nil
	})
}
