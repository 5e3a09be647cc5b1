package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue"

	"github.com/taskgate/taskgate/adapters/azure/cosmosstore"
	"github.com/taskgate/taskgate/adapters/azure/credential"
	"github.com/taskgate/taskgate/adapters/azure/servicebusdispatch"
	"github.com/taskgate/taskgate/adapters/azure/storagequeuedispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/functions/settings"
	"github.com/taskgate/taskgate/functions/wiring"
)

// clouds are the clients, made once, of what the settings name and no other.
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

// connect makes the clients. Nothing is sent yet: an error is a setting that can
// never work, and names the option; all of them are reported together.
func connect(c config, own map[string]credential.Loader) (*clouds, error) {
	n := &connector{own: own, loaded: map[string]azcore.TokenCredential{}}
	all := &clouds{backends: map[string]task.Backend{}}
	if store := n.store(c.cosmos); store != nil {
		all.store, all.warm = store, append(all.warm, store.Prewarm)
	}
	for _, b := range c.Backends {
		var target string
		var dispatcher task.Dispatcher
		switch o := b.Options.(type) {
		case *settings.ServiceBusOptions:
			topic := b.Kind == settings.ServiceBusTopicBackend
			target = "servicebusqueue"
			if topic {
				target = "servicebustopic"
			}
			if d := n.serviceBus(b.Alias, o, topic); d != nil {
				dispatcher = d
				all.warm = append(all.warm, func(ctx context.Context) error { return d.Prewarm(ctx, entities(b)...) })
			}
		case *settings.StorageQueueOptions:
			target = "storagequeue"
			if d := n.storageQueue(b.Alias, o); d != nil {
				dispatcher = d
			}
		}
		all.backends[b.Alias] = wiring.Backend(b, target, dispatcher)
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
	return all
}

// warmTime bounds the opening of connections at start.
const warmTime = 30 * time.Second

// prewarm opens the connections, all at once, while the first requests come.
// One that cannot be opened is logged: the requests that need it find out, and
// so does whoever reads the log before there are any.
func (c *clouds) prewarm(ctx context.Context, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, warmTime)
	defer cancel()
	var all sync.WaitGroup
	for _, warm := range c.warm {
		all.Go(func() {
			if err := warm(ctx); err != nil {
				log.WarnContext(ctx, "not to be reached yet", "error", err)
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

func (n *connector) store(c cosmosConfig) *cosmosstore.Store {
	option := "TASKGATE_COSMOS_CONNECTION_STRING"
	dial := func() (*azcosmos.Client, error) {
		return azcosmos.NewClientFromConnectionString(string(c.connectionString), cosmosstore.ClientOptions())
	}
	if c.connectionString == "" {
		token, err := n.credential(c.loader)
		if err != nil {
			n.failf("TASKGATE_COSMOS_CREDENTIAL_LOADER", "", err)
			return nil
		}
		option = "TASKGATE_COSMOS_ENDPOINT"
		dial = func() (*azcosmos.Client, error) {
			return azcosmos.NewClient(c.endpoint, token, cosmosstore.ClientOptions())
		}
	}
	store, err := cosmosstore.New(func() (*azcosmos.ContainerClient, error) {
		client, err := dial()
		if err != nil {
			return nil, err
		}
		return client.NewContainer(c.database, c.container)
	}, cosmosstore.Options{})
	if err != nil {
		n.failf(option, "", err)
		return nil
	}
	return store
}

func (n *connector) serviceBus(alias string, o *settings.ServiceBusOptions, topic bool) *servicebusdispatch.Dispatcher {
	option := "SERVICEBUS_CONNECTION_STRING"
	dial := func() (*azservicebus.Client, error) {
		return azservicebus.NewClientFromConnectionString(string(o.ConnectionString), servicebusdispatch.ClientOptions())
	}
	if !o.UseConnectionString {
		c, err := n.credential(o.CredentialLoader)
		if err != nil {
			n.failf("SERVICEBUS_CREDENTIAL_LOADER", alias, err)
			return nil
		}
		option = "SERVICEBUS_NAMESPACE_FQDN"
		dial = func() (*azservicebus.Client, error) {
			return azservicebus.NewClient(o.NamespaceFQDN, c, servicebusdispatch.ClientOptions())
		}
	}
	d, err := servicebusdispatch.New(dial, servicebusdispatch.Options{
		Topic:           topic,
		RequiresSession: o.RequiresSession,
		MaxDeliveries:   int64(o.MaxDeliveries),
		MaxMessageBytes: int64(o.MaxMessageKiB) << 10,
	})
	if err != nil {
		n.failf(option, alias, err)
		return nil
	}
	return d
}

func (n *connector) storageQueue(alias string, o *settings.StorageQueueOptions) *storagequeuedispatch.Dispatcher {
	option := "STORAGE_ACCOUNT_CONNECTION_STRING"
	client, err := (*azqueue.ServiceClient)(nil), error(nil)
	if o.UseConnectionString {
		client, err = azqueue.NewServiceClientFromConnectionString(string(o.ConnectionString), storagequeuedispatch.ClientOptions())
	} else {
		var c azcore.TokenCredential
		if c, err = n.credential(o.CredentialLoader); err != nil {
			n.failf("STORAGE_ACCOUNT_CREDENTIAL_LOADER", alias, err)
			return nil
		}
		option = "STORAGE_ACCOUNT_URL"
		client, err = azqueue.NewServiceClient(o.URL, c, storagequeuedispatch.ClientOptions())
	}
	if err != nil {
		n.failf(option, alias, err)
		return nil
	}
	return storagequeuedispatch.New(client, storagequeuedispatch.Options{MaxDeliveries: int64(o.MaxDeliveries)})
}
