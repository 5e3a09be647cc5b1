package servicebusdispatch_test

import (
	"context"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/taskgate/taskgate/adapters/azure/servicebusdispatch"
	"github.com/taskgate/taskgate/core/task/dispatchtest"
	"github.com/taskgate/taskgate/tests/emulators"
)

func TestAQueueKeepsTheContract(t *testing.T) {
	t.Parallel()
	e := emulators.ServiceBus(t, oneQueue(emulators.BusQueue{RequiresDuplicateDetection: true}))
	d, w := open(t, e.Addr(), servicebusdispatch.Options{}), newWorker(t, e.Addr()).ofQueue(t, queue)
	dispatchtest.Run(t, func(t *testing.T) dispatchtest.Subject {
		return dispatchtest.Subject{Dispatcher: d, Queue: queue, MissingQueue: "no-such-queue", Receive: w.delivery}
	})
}

func TestATopicKeepsTheContract(t *testing.T) {
	t.Parallel()
	e := emulators.ServiceBus(t, emulators.ServiceBusConfig{Topics: map[string]emulators.BusTopic{
		queue: {Subscriptions: map[string]emulators.BusQueue{"workers": {}, "audit": {}}},
	}})
	d, w := open(t, e.Addr(), servicebusdispatch.Options{Topic: true}), newWorker(t, e.Addr())
	var err error
	w.from, err = w.client.NewReceiverForSubscription(queue, "workers", &azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete})
	if err != nil {
		t.Fatal(err)
	}
	dispatchtest.Run(t, func(t *testing.T) dispatchtest.Subject {
		return dispatchtest.Subject{Dispatcher: d, Queue: queue, MissingQueue: "no-such-topic", Receive: w.delivery}
	})
}

// TestASessionQueueKeepsTheContract receives as a worker of a session queue
// does: it takes whichever session is waiting, empties it and takes the next.
func TestASessionQueueKeepsTheContract(t *testing.T) {
	t.Parallel()
	e := emulators.ServiceBus(t, oneQueue(emulators.BusQueue{RequiresSession: true}))
	d, w := open(t, e.Addr(), servicebusdispatch.Options{RequiresSession: true}), newWorker(t, e.Addr())
	var session *azservicebus.SessionReceiver
	receive := func(ctx context.Context) (dispatchtest.Delivery, error) {
		for {
			if session != nil {
				w.from = session
				soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
				got, err := w.delivery(soon)
				cancel()
				if err == nil {
					return got, nil
				}
				_ = session.Close(context.Background())
				session = nil
			}
			var err error
			session, err = w.client.AcceptNextSessionForQueue(ctx, queue, &azservicebus.SessionReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete})
			if err != nil {
				session = nil
				select {
				case <-ctx.Done():
					return dispatchtest.Delivery{}, ctx.Err()
				case <-time.After(10 * time.Millisecond):
				}
			}
		}
	}
	dispatchtest.Run(t, func(t *testing.T) dispatchtest.Subject {
		return dispatchtest.Subject{Dispatcher: d, Queue: queue, MissingQueue: "no-such-queue", Receive: receive, Quiet: 300 * time.Millisecond}
	})
}
