package main_test

import (
	"context"
	"encoding/base64"
	"path/filepath"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"github.com/taskgate/taskgate/tests/blackbox"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
	"github.com/taskgate/taskgate/tests/emulators/functionshost"
)

// TestTheContract runs the black-box suite through the staged folder: each
// target behind a host of today, and the first behind one that does not proxy.
func TestTheContract(t *testing.T) {
	for name, c := range map[string]struct {
		backend string
		forward bool
	}{
		"queue, forwarding":       {"default", true},
		"queue, proxying":         {"default", false},
		"topic, proxying":         {"topic", false},
		"Storage queue, proxying": {"storage", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && c.backend != "default" {
				t.Skip("the race detector sees the suite with one target")
			}
			emulated := newCloud(t)
			dir := filepath.Join(staged, "azure")
			if c.forward {
				dir = forwarding(t)
			}
			h := functionshost.Start(t, dir, functionshost.Options{Settings: emulated.apiSettings()})
			inbox := blackbox.NewInbox()
			second := otherQueue
			switch c.backend {
			case "default":
				emulated.drainBus(inbox, queueName, "")
				emulated.drainBus(inbox, otherQueue, "")
			case "topic":
				emulated.drainBus(inbox, topicName, subscriptionName)
				second = ""
			case "storage":
				emulated.drainStorage(inbox, queueName)
				emulated.drainStorage(inbox, otherQueue)
			}
			blackbox.Run(t, blackbox.Target{
				BaseURL: h.URL(), Key: "key-of-alice", OtherKey: "key-of-bob",
				Backend: c.backend, Queue: second, Receive: inbox.Receive,
			})
		})
	}
}

// drainBus puts what comes to a queue, or to a topic's subscription, into the
// inbox, until the test ends.
func (c *cloud) drainBus(inbox *blackbox.Inbox, entity, subscription string) {
	c.t.Helper()
	client, err := azservicebus.NewClientFromConnectionString(azureemu.ServiceBusConnectionString(c.bus.Addr()), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	var receiver *azservicebus.Receiver
	options := &azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete}
	if subscription == "" {
		receiver, err = client.NewReceiverForQueue(entity, options)
	} else {
		receiver, err = client.NewReceiverForSubscription(entity, subscription, options)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.untilTheEnd(func(ctx context.Context) error {
		messages, err := receiver.ReceiveMessages(ctx, 10, nil)
		for _, m := range messages {
			attributes := map[string]string{}
			for name, value := range m.ApplicationProperties {
				if text, ok := value.(string); ok {
					attributes[name] = text
				}
			}
			inbox.Put(m.Body, attributes)
		}
		return err
	})
}

// drainStorage does the same for a Storage queue.
func (c *cloud) drainStorage(inbox *blackbox.Inbox, name string) {
	c.t.Helper()
	q, count := c.queue(name), int32(32)
	c.untilTheEnd(func(ctx context.Context) error {
		got, err := q.DequeueMessages(ctx, &azqueue.DequeueMessagesOptions{NumberOfMessages: &count})
		if err != nil {
			return err
		}
		for _, m := range got.Messages {
			body, err := base64.StdEncoding.DecodeString(*m.MessageText)
			if err != nil {
				return err
			}
			inbox.Put(body, nil)
			if _, err := q.DeleteMessage(ctx, *m.MessageID, *m.PopReceipt, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// untilTheEnd repeats step until the test ends or it fails.
func (c *cloud) untilTheEnd(step func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			err = step(ctx)
		}
		ended <- err
	}()
	c.t.Cleanup(func() {
		stop()
		if err := <-ended; ctx.Err() == nil {
			c.t.Error(err)
		}
	})
}
