package main_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"github.com/taskgate/taskgate/adapters/azure/cosmosstore"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
	"github.com/taskgate/taskgate/tests/emulators/functionshost"
)

// staged is where the apps are, as make azure makes them for the func tools.
var staged string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "taskgate-azure")
	if err != nil {
		panic(err)
	}
	staged = dir
	stage(dir)
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// stage runs make azure into a directory.
func stage(dir string, variables ...string) {
	make := exec.Command("make", append([]string{"-C", "../..", "azure", "BUILD=" + dir}, variables...)...)
	if out, err := make.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("make azure: %v\n%s", err, out))
	}
}

// The targets' names, and the example worker's subscription.
const (
	queueName        = "tasks"
	otherQueue       = "emails"
	topicName        = "task-events"
	subscriptionName = "worker"
)

// cloud is a set of emulators, with everything in them that the apps use.
type cloud struct {
	t                    *testing.T
	bus, storage, cosmos *emulators.Endpoint
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	entity := emulators.BusQueue{RequiresDuplicateDetection: true, MaxDeliveryCount: 10}
	c := &cloud{
		t:       t,
		storage: emulators.StorageQueue(t),
		cosmos:  emulators.Cosmos(t),
		bus: emulators.ServiceBus(t, emulators.ServiceBusConfig{
			Queues: map[string]emulators.BusQueue{queueName: entity, otherQueue: entity},
			Topics: map[string]emulators.BusTopic{topicName: {
				BusQueue:      emulators.BusQueue{RequiresDuplicateDetection: true},
				Subscriptions: map[string]emulators.BusQueue{subscriptionName: {MaxDeliveryCount: 10}},
			}},
		}),
	}
	c.createContainer()
	c.createQueues()
	return c
}

func (c *cloud) createQueues() {
	c.t.Helper()
	for _, name := range []string{queueName, otherQueue, queueName + "-poison"} {
		if _, err := c.queue(name).Create(c.t.Context(), nil); err != nil {
			c.t.Fatal(err)
		}
	}
}

// createContainer makes what infra/azure makes.
func (c *cloud) createContainer() {
	c.t.Helper()
	client, err := azcosmos.NewClientFromConnectionString(azureemu.CosmosConnectionString(c.cosmos.URL()), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err = client.CreateDatabase(c.t.Context(), azcosmos.DatabaseProperties{ID: "taskgate"}, nil); err != nil {
		c.t.Fatal(err)
	}
	db, err := client.NewDatabase("taskgate")
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err = db.CreateContainer(c.t.Context(), cosmosstore.Container("tasks"), nil); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cloud) queue(name string) *azqueue.QueueClient {
	c.t.Helper()
	q, err := azqueue.NewQueueClientFromConnectionString(azureemu.StorageConnectionString(c.storage.Addr()), name, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return q
}

// apiSettings are the API's: its three targets, one of them with plain payloads
// too, and two callers.
func (c *cloud) apiSettings() map[string]string {
	bus, storage := azureemu.ServiceBusConnectionString(c.bus.Addr()), azureemu.StorageConnectionString(c.storage.Addr())
	tasks := fmt.Sprintf(`{
		"default": {"BACKEND": "taskgate.ServiceBusQueueBackend", "QUEUES": [%[1]q, %[2]q],
			"OPTIONS": {"SERVICEBUS_DEFAULT_QUEUE_NAME": %[1]q, "SERVICEBUS_CONNECTION_STRING": %[4]q}},
		"plain": {"BACKEND": "taskgate.ServiceBusQueueBackend", "QUEUES": [%[1]q],
			"OPTIONS": {"PAYLOAD": "plain", "SERVICEBUS_CONNECTION_STRING": %[4]q}},
		"topic": {"BACKEND": "taskgate.ServiceBusTopicBackend", "QUEUES": [%[3]q],
			"OPTIONS": {"SERVICEBUS_DEFAULT_TOPIC_NAME": %[3]q, "SERVICEBUS_CONNECTION_STRING": %[4]q}},
		"storage": {"BACKEND": "taskgate.StorageAccountQueueBackend", "QUEUES": [%[1]q, %[2]q],
			"OPTIONS": {"STORAGE_ACCOUNT_QUEUE_DEFAULT_QUEUE_NAME": %[1]q, "STORAGE_ACCOUNT_CONNECTION_STRING": %[5]q}}}`,
		queueName, otherQueue, topicName, bus, storage)
	return map[string]string{
		"TASKGATE_TASKS":                    tasks,
		"TASKGATE_API_KEYS":                 apiKey("alice", "enqueue+read") + "," + apiKey("bob", "enqueue+read"),
		"TASKGATE_TOKEN_SECRETS":            strings.Repeat("s", 32),
		"TASKGATE_COSMOS_CONNECTION_STRING": azureemu.CosmosConnectionString(c.cosmos.URL()),
		"WEBSITE_HOSTNAME":                  "app.azurewebsites.net",
	}
}

// workerSettings are the worker app's, which reports to the API at a base URL.
func (c *cloud) workerSettings(eventsBase string) map[string]string {
	return map[string]string{
		"TASKGATE_EVENTS_BASE":         eventsBase,
		"WorkerServiceBus":             azureemu.ServiceBusConnectionString(c.bus.Addr()),
		"WorkerStorage":                azureemu.StorageConnectionString(c.storage.Addr()),
		"SERVICEBUS_QUEUE_NAME":        queueName,
		"SERVICEBUS_TOPIC_NAME":        topicName,
		"SERVICEBUS_SUBSCRIPTION_NAME": subscriptionName,
		"STORAGE_QUEUE_NAME":           queueName,
	}
}

func apiKey(name, scopes string) string {
	sum := sha256.Sum256([]byte("key-of-" + name))
	return name + ":" + scopes + ":" + hex.EncodeToString(sum[:])
}

// with returns the settings with others in their place; names and values in turns.
func with(settings map[string]string, others ...string) map[string]string {
	settings = maps.Clone(settings)
	for i := 0; i < len(others); i += 2 {
		settings[others[i]] = others[i+1]
	}
	return settings
}

// front is an address that is known before what stands behind it: the platform's
// front end, as far as an app can tell.
type front struct {
	url    string
	behind atomic.Pointer[string] // host:port
}

func newFront(t *testing.T) *front {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	f := &front{url: "http://" + listener.Addr().String()}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go f.serve(client)
		}
	}()
	return f
}

func (f *front) serve(client net.Conn) {
	defer client.Close()
	behind := f.behind.Load()
	if behind == nil {
		return
	}
	server, err := net.Dial("tcp", *behind)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		defer server.Close()
		_, _ = io.Copy(server, client)
	}()
	_, _ = io.Copy(client, server)
}

func (f *front) leadsTo(h *functionshost.Host) {
	addr := strings.TrimPrefix(h.URL(), "http://")
	f.behind.Store(&addr)
}

// forwarding returns a copy of the API's folder for a host that does not proxy.
func forwarding(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(staged, "azure"))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "host.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	older := bytes.Replace(text, []byte(`"enableProxyingHttpRequest": true`), []byte(`"enableProxyingHttpRequest": false`), 1)
	if bytes.Equal(older, text) {
		t.Fatal("host.json does not proxy")
	}
	if err := os.WriteFile(path, older, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
