package servicebusdispatch_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/taskgate/taskgate/adapters/azure/servicebusdispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/dispatchtest"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
	"github.com/taskgate/taskgate/tests/wait"
)

const queue = "tasks"

func oneQueue(o emulators.BusQueue) emulators.ServiceBusConfig {
	return emulators.ServiceBusConfig{Queues: map[string]emulators.BusQueue{queue: o}}
}

// client connects to the emulator at addr.
func client(addr string) (*azservicebus.Client, error) {
	return azservicebus.NewClientFromConnectionString(azureemu.ServiceBusConnectionString(addr), servicebusdispatch.ClientOptions())
}

// open returns a dispatcher to the emulator, or a proxy before it, at addr.
func open(t testing.TB, addr string, o servicebusdispatch.Options) *servicebusdispatch.Dispatcher {
	t.Helper()
	return openWith(t, func() (*azservicebus.Client, error) { return client(addr) }, o)
}

// openWith returns a dispatcher whose connections are closed when the test ends.
func openWith(t testing.TB, connect func() (*azservicebus.Client, error), o servicebusdispatch.Options) *servicebusdispatch.Dispatcher {
	t.Helper()
	recorded, closeAll := recording(connect)
	t.Cleanup(closeAll)
	d, err := servicebusdispatch.New(recorded, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// recording returns connect, and what closes every connection that it made.
func recording(connect func() (*azservicebus.Client, error)) (recorded func() (*azservicebus.Client, error), closeAll func()) {
	var mu sync.Mutex
	var made []*azservicebus.Client
	recorded = func() (*azservicebus.Client, error) {
		c, err := connect()
		if err == nil {
			mu.Lock()
			made = append(made, c)
			mu.Unlock()
		}
		return c, err
	}
	return recorded, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		mu.Lock()
		defer mu.Unlock()
		closed := make(chan struct{}, len(made))
		for _, c := range made {
			go func() {
				_ = c.Close(ctx)
				closed <- struct{}{}
			}()
		}
		for range made {
			select {
			case <-closed:
			case <-ctx.Done(): // the SDK waits for a credential, whatever ctx says
				return
			}
		}
	}
}

// worker takes messages out of an entity, over a connection of its own.
type worker struct {
	client *azservicebus.Client
	from   interface {
		ReceiveMessages(context.Context, int, *azservicebus.ReceiveMessagesOptions) ([]*azservicebus.ReceivedMessage, error)
	}
}

func newWorker(t testing.TB, addr string) *worker {
	t.Helper()
	c, err := client(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return &worker{client: c}
}

func (w *worker) ofQueue(t testing.TB, name string) *worker {
	t.Helper()
	r, err := w.client.NewReceiverForQueue(name, &azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete})
	if err != nil {
		t.Fatal(err)
	}
	w.from = r
	return w
}

func (w *worker) receive(ctx context.Context) (*azservicebus.ReceivedMessage, error) {
	for {
		got, err := w.from.ReceiveMessages(ctx, 1, nil)
		if err != nil || len(got) > 0 { // none and no error: the SDK lost its link
			return append(got, nil)[0], err
		}
	}
}

// delivery receives as dispatchtest wants it.
func (w *worker) delivery(ctx context.Context) (dispatchtest.Delivery, error) {
	m, err := w.receive(ctx)
	if err != nil {
		return dispatchtest.Delivery{}, err
	}
	d := dispatchtest.Delivery{Body: m.Body, Attributes: map[string]string{}}
	for name, value := range m.ApplicationProperties {
		d.Attributes[name] = fmt.Sprint(value)
	}
	if m.SessionID != nil && *m.SessionID != m.MessageID {
		d.Group = *m.SessionID
	}
	if m.ContentType == nil || *m.ContentType != "application/json" {
		return d, errors.New("the content type is not application/json")
	}
	return d, nil
}

// ids waits for n messages, then makes sure that there are no more, and returns
// the ids of all.
func (w *worker) ids(t testing.TB, n int) []string {
	t.Helper()
	var ids []string
	for wait := 10 * time.Second; ; {
		if len(ids) >= n {
			wait = 300 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		m, err := w.receive(ctx)
		cancel()
		if err != nil {
			if len(ids) < n {
				t.Fatalf("%d of %d messages have arrived: %v", len(ids), n, err)
			}
			return ids
		}
		ids = append(ids, m.MessageID)
	}
}

func outgoing(due time.Time) task.Outgoing {
	id := task.NewID()
	m := task.Outgoing{
		ID: id, Queue: queue, Route: servicebusdispatch.Route,
		Body:       fmt.Appendf(nil, `{"task_name":"send_email","args":[],"kwargs":{},"id":%q}`, id),
		Attributes: map[string]string{task.AttributeTaskID: id},
	}
	if !due.IsZero() {
		m.Due = task.At(due)
	}
	return m
}

// unavailable dispatches, and wants a bounded answer of that kind.
func unavailable(t testing.TB, d *servicebusdispatch.Dispatcher, m task.Outgoing, limit time.Duration) *task.Error {
	t.Helper()
	start := time.Now()
	_, err := d.Dispatch(t.Context(), m)
	if took := time.Since(start); took > limit+wait.Slack {
		t.Errorf("the answer took %v", took)
	}
	var e *task.Error
	if !errors.As(err, &e) || e.Kind != task.Unavailable || e.Msg == "" {
		t.Fatalf("Dispatch: %v, want %s", err, task.Unavailable)
	}
	return e
}

// recovers calls until a call succeeds, and logs how long that took.
func recovers(t testing.TB, d *servicebusdispatch.Dispatcher, m task.Outgoing) {
	t.Helper()
	start := time.Now()
	wait.Succeeds(t, "a recovery", func() error { _, err := d.Dispatch(t.Context(), m); return err })
	t.Logf("recovered after %v", time.Since(start))
}
