package main_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/adapters/azure/cosmosstore"
	"github.com/taskgate/taskgate/adapters/azure/servicebusdispatch"
	"github.com/taskgate/taskgate/adapters/azure/storagequeuedispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/wait"
)

// busyQueue refuses everything for now.
const busyQueue = "busy"

// TestBrownOutCallsEachTargetAtMostTwicePerTask, neither what is down
// nor what is well: one layer tries once more. Service Bus is called once for
// each message that is sent to it, or connection that is begun.
func TestBrownOutCallsEachTargetAtMostTwicePerTask(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	c.bus = emulators.ServiceBus(t, emulators.ServiceBusConfig{Queues: map[string]emulators.BusQueue{
		queueName: {}, busyQueue: {Refuse: "com.microsoft:server-busy"},
	}})
	store := func(fault faultproxy.Fault) func(proxies) {
		return func(p proxies) { p.cosmos.Always(faultproxy.Any, fault) }
	}
	storage := func(fault faultproxy.Fault) func(proxies) {
		return func(p proxies) { p.storage.Always(faultproxy.Any, fault) }
	}
	var all sync.WaitGroup
	for _, down := range []struct {
		name, backend string
		begin         func(proxies)
		queue         string
		quick         bool
	}{
		{"the store is unavailable", "storage", store(faultproxy.Status(503, "{}")), "", true},
		{"the store throttles", "storage", store(faultproxy.CosmosThrottled(5 * time.Millisecond)), "", true},
		{"the store throttles for long", "storage", store(faultproxy.CosmosThrottled(5 * time.Second)), "", true},
		{"the store resets", "storage", store(faultproxy.ResetBefore), "", true},
		{"the store is silent", "storage", store(faultproxy.SilentBefore), "", false},
		{"the queue is unavailable", "storage", storage(faultproxy.StorageError(500, "InternalError")), "", true},
		{"the queue throttles", "storage", storage(faultproxy.StorageThrottled), "", true},
		{"the queue resets", "storage", storage(faultproxy.ResetBefore), "", true},
		{"the queue is silent", "storage", storage(faultproxy.SilentBefore), "", false},
		{"the bus is busy", "bus", func(proxies) {}, busyQueue, true},
		{"the bus repels", "bus", func(p proxies) { p.bus.Repel(); p.bus.Reset() }, "", true},
		{"the bus falls silent", "bus", func(p proxies) { p.bus.Silence() }, "", false},
		{"the bus answers nobody", "bus", func(p proxies) { p.bus.Deafen(); p.bus.Reset() }, "", false},
	} {
		if testing.Short() && !down.quick {
			continue
		}
		for _, keyed := range []bool{true, false} {
			for _, size := range []int{1, 5} {
				what := fmt.Sprintf("%s, keyed %v, batch of %d", down.name, keyed, size)
				_, p := c.behindProxies()
				service := brownOut(t, p)
				enqueue := func(queue string) []task.Outcome {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					reqs := make([]task.Request, size)
					for i := range reqs {
						reqs[i] = task.Request{TaskName: marker, Args: jsontext.Value("[]"), Kwargs: jsontext.Value("{}"), Backend: down.backend, QueueName: queue}
						if keyed {
							reqs[i].Key = task.NewID()
						}
					}
					return service.EnqueueBatch(ctx, task.Call{Owner: "alice", BaseURL: "https://tasks.example.com"}, reqs)
				}
				all.Go(func() {
					// A busy emulator may be too slow for the first requests of many services at once.
					wait.Succeeds(t, what+": before it", func() (err error) {
						for _, a := range enqueue("") {
							err = errors.Join(err, a.Err)
						}
						return err
					})
					before := p.calls()
					down.begin(p)
					for _, a := range enqueue(down.queue) {
						if task.KindOf(a.Err) != task.Unavailable {
							t.Errorf("%s: %v", what, a.Err)
						}
					}
					for who, n := range p.calls() {
						if n -= before[who]; n > 2*size {
							t.Errorf("%s: %s is called %d times", what, who, n)
						}
					}
				})
			}
		}
	}
	all.Wait()
}

// marker is in each message once.
const marker = "brown-out"

// calls counts what has arrived at each proxy.
func (p proxies) calls() map[string]int {
	return map[string]int{
		"the store": p.cosmos.Count(faultproxy.Any), "the storage queue": p.storage.Count(faultproxy.Any),
		"the bus, by messages": p.bus.Count(`{"task_name":"` + marker), "the bus, by connections": p.bus.Accepted(),
	}
}

// brownOut is the service as this main wires it, behind the proxies.
func brownOut(t *testing.T, p proxies) *task.Service {
	p.bus.Watch(`{"task_name":"` + marker)
	store, err := cosmosstore.New(func() (*azcosmos.ContainerClient, error) {
		client, err := azcosmos.NewClientFromConnectionString(azureemu.CosmosConnectionString(p.cosmos.URL()), cosmosstore.ClientOptions())
		if err != nil {
			return nil, err
		}
		return client.NewContainer("taskgate", "tasks")
	})
	if err != nil {
		t.Fatal(err)
	}
	bus, err := servicebusdispatch.New(func() (*azservicebus.Client, error) {
		return azservicebus.NewClientFromConnectionString(azureemu.ServiceBusConnectionString(p.bus.Addr()), servicebusdispatch.ClientOptions())
	}, servicebusdispatch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	queues, err := azqueue.NewServiceClientFromConnectionString(azureemu.StorageConnectionString(p.storage.Addr()), storagequeuedispatch.ClientOptions())
	if err != nil {
		t.Fatal(err)
	}
	return &task.Service{
		Store: store,
		Backends: map[string]task.Backend{
			"bus":     {Dispatcher: bus, Target: "servicebusqueue", DefaultQueue: queueName},
			"storage": {Dispatcher: storagequeuedispatch.New(queues, 0), Target: "storagequeue", DefaultQueue: queueName},
		},
		Tokens:    task.Tokens{Secrets: [][]byte{[]byte(strings.Repeat("s", 32))}},
		ResultTTL: time.Hour, MaxPayloadBytes: cosmosstore.MaxPayloadBytes,
		Now: time.Now, NewID: task.NewID, Log: slog.New(slog.DiscardHandler),
	}
}
