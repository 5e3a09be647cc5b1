package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/taskgate/taskgate/adapters/azure/credential"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/functions/settings"
	"github.com/taskgate/taskgate/functions/wiring"
)

// clouds are the clients of what the settings name.
type clouds struct {
	store    task.Store
	backends map[string]task.Backend
	warm     []func(context.Context) error // each opens connections
}

// connector makes the clients and collects what is wrong.
type connector struct {
	own    map[string]credential.Loader
	loaded map[string]azcore.TokenCredential // by the loader's name
	errs   settings.Errors
}

// connect makes the clients, and sends nothing yet. Its error is [settings.Errors]:
// all the settings that can never work, each with the name of its option.
func connect(c config, own map[string]credential.Loader) (*clouds, error) {
	n := &connector{own: own, loaded: map[string]azcore.TokenCredential{}}
	all := &clouds{backends: map[string]task.Backend{}}
	if store := n.store(c.cosmos); store != nil {
		all.store, all.warm = store, append(all.warm, store.Prewarm)
	}
	for _, b := range c.Backends {
		switch o := b.Options.(type) {
		case *settings.ServiceBusOptions:
			all.backends[b.Alias] = n.serviceBus(b, o, all)
		case *settings.StorageQueueOptions:
			all.backends[b.Alias] = n.storageQueue(b, o)
		}
	}
	if len(n.errs) > 0 {
		return nil, n.errs
	}
	return all, nil
}

// entities are the queues or topics that are known to be sent to.
func entities(b settings.Backend) []string {
	all := slices.Clone(b.Queues)
	if b.DefaultQueue != "" && !slices.Contains(all, b.DefaultQueue) {
		all = append(all, b.DefaultQueue)
	}
	for _, byThreshold := range b.PriorityQueues {
		all = slices.AppendSeq(all, maps.Values(byThreshold))
	}
	return all
}

// backend returns the backend that sends through d, and notes each of its
// configured queues that the target cannot have.
func (n *connector) backend(b settings.Backend, target string, d task.Dispatcher, check func(name string) string) task.Backend {
	for _, name := range entities(b) {
		if rule := check(name); rule != "" {
			n.errs = append(n.errs, fmt.Sprintf("the queue %q in backend %q %s", name, b.Alias, rule))
		}
	}
	backend := wiring.Backend(b, target, d)
	backend.CheckQueue = check
	return backend
}

// warmTime bounds the opening of connections at start.
const warmTime = 30 * time.Second

// prewarm opens all connections concurrently, while the first requests come. A
// connection that cannot be opened is logged, so that an operator sees it before
// a request fails.
func (c *clouds) prewarm(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, warmTime)
	defer cancel()
	var all sync.WaitGroup
	for _, warm := range c.warm {
		all.Go(func() {
			if err := warm(ctx); err != nil {
				log.WarnContext(ctx, "not reachable yet", "error", err)
			}
		})
	}
	all.Wait()
}

// failf notes that the option's value cannot be used.
func (n *connector) failf(option, alias string, err error) {
	where := option
	if alias != "" {
		where = fmt.Sprintf("%s in backend %q", option, alias)
	}
	n.errs = append(n.errs, fmt.Sprintf("%s cannot be used: %v", where, err))
}

// credential makes the credential of a loader, once for all that name it.
func (n *connector) credential(loader string) (azcore.TokenCredential, error) {
	if c, ok := n.loaded[loader]; ok {
		return c, nil
	}
	c, err := credential.Load(loader, n.own)
	if err == nil {
		n.loaded[loader] = c
	}
	return c, err
}
