package emulators_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
)

// bus is one Service Bus emulator and a client of it.
type bus struct {
	*testing.T
	*azservicebus.Client
	ctx context.Context
}

func newBus(t *testing.T, config emulators.ServiceBusConfig) *bus {
	t.Helper()
	t.Parallel()
	e := emulators.ServiceBus(t, config)
	return &bus{t, dial(t, azureemu.ServiceBusConnectionString(e.Addr())), within(t)}
}

func dial(t *testing.T, connection string) *azservicebus.Client {
	t.Helper()
	client, err := azservicebus.NewClientFromConnectionString(connection, &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{MaxRetries: 3, RetryDelay: 20 * time.Millisecond, MaxRetryDelay: 500 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = client.Close(ctx)
	})
	return client
}

func oneQueue(options emulators.BusQueue) emulators.ServiceBusConfig {
	return emulators.ServiceBusConfig{Queues: map[string]emulators.BusQueue{"tasks": options}}
}

func (b *bus) sender(entity string) *azservicebus.Sender {
	b.Helper()
	s, err := b.NewSender(entity, nil)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func (b *bus) send(entity string, messages ...*azservicebus.Message) {
	b.Helper()
	s := b.sender(entity)
	for _, m := range messages {
		if err := s.SendMessage(b.ctx, m, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *bus) receiver(entity string, options *azservicebus.ReceiverOptions) *azservicebus.Receiver {
	b.Helper()
	r, err := b.NewReceiverForQueue(entity, options)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

type source interface {
	ReceiveMessages(context.Context, int, *azservicebus.ReceiveMessagesOptions) ([]*azservicebus.ReceivedMessage, error)
}

func (b *bus) receive(from source) *azservicebus.ReceivedMessage {
	b.Helper()
	for {
		got, err := from.ReceiveMessages(b.ctx, 1, nil)
		if err != nil {
			b.Fatal(err)
		}
		if len(got) > 0 { // none and no error: the SDK lost its link and asks to be called again
			return got[0]
		}
	}
}

func body(text string) *azservicebus.Message { return &azservicebus.Message{Body: []byte(text)} }

func withID(id, text string) *azservicebus.Message {
	return &azservicebus.Message{Body: []byte(text), MessageID: &id}
}

func TestAMessageArrivesAsItWasSentAndIsGoneOnceCompleted(t *testing.T) {
	b := newBus(t, oneQueue(emulators.BusQueue{}))
	subject, contentType := "send_email", "application/json"
	sent := &azservicebus.Message{
		Body: []byte("\x00\xff{}"), Subject: &subject, ContentType: &contentType,
		ApplicationProperties: map[string]any{"task_id": "t1", "long": int64(7), "double": 1.5, "yes": true},
	}
	b.send("tasks", sent)
	r := b.receiver("tasks", nil)
	got := b.receive(r)
	if string(got.Body) != string(sent.Body) || *got.Subject != subject || *got.ContentType != contentType || got.DeliveryCount != 1 {
		t.Errorf("received %+v", got)
	}
	for key, want := range sent.ApplicationProperties {
		if got.ApplicationProperties[key] != want {
			t.Errorf("property %s is %#v, want %#v", key, got.ApplicationProperties[key], want)
		}
	}
	if err := r.CompleteMessage(b.ctx, got, nil); err != nil {
		t.Fatal(err)
	}
	if left, err := r.PeekMessages(b.ctx, 1, nil); err != nil || len(left) != 0 {
		t.Errorf("left in the queue: %v, %v", left, err)
	}
}

func TestABatchIsSeparateMessages(t *testing.T) {
	b := newBus(t, oneQueue(emulators.BusQueue{}))
	s := b.sender("tasks")
	batch, err := s.NewMessageBatch(b.ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a", "b", "c"} {
		if err := batch.AddMessage(body(text), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SendMessageBatch(b.ctx, batch, nil); err != nil {
		t.Fatal(err)
	}
	r := b.receiver("tasks", &azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete})
	var got string
	for range 3 {
		got += string(b.receive(r).Body)
	}
	if got != "abc" {
		t.Errorf("received %q", got)
	}
}

func TestScheduledMessagesWaitAndCanBeCancelled(t *testing.T) {
	b := newBus(t, oneQueue(emulators.BusQueue{}))
	s := b.sender("tasks")
	due := time.Now().Add(time.Second)
	numbers, err := s.ScheduleMessages(b.ctx, []*azservicebus.Message{body("kept"), body("cancelled")}, due, nil)
	if err != nil || len(numbers) != 2 {
		t.Fatalf("scheduled %v, %v", numbers, err)
	}
	later := body("property")
	at := due.Add(300 * time.Millisecond)
	later.ScheduledEnqueueTime = &at
	if err := s.SendMessage(b.ctx, later, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.CancelScheduledMessages(b.ctx, numbers[1:], nil); err != nil {
		t.Fatal(err)
	}
	err = s.CancelScheduledMessages(b.ctx, numbers[1:], nil)
	if refused := (*azservicebus.Error)(nil); !errors.As(err, &refused) || refused.Code != azservicebus.CodeNotFound {
		t.Errorf("cancelling twice: %v, want CodeNotFound", err)
	}
	r := b.receiver("tasks", nil)
	for _, want := range []string{"kept", "property"} {
		if got := b.receive(r); string(got.Body) != want || time.Now().Before(due) {
			t.Errorf("received %q at %v, want %q from %v on", got.Body, time.Now(), want, due)
		}
	}
}

func TestATopicFansOut(t *testing.T) {
	b := newBus(t, emulators.ServiceBusConfig{Topics: map[string]emulators.BusTopic{"events": {
		Subscriptions: map[string]emulators.BusQueue{"a": {}, "b": {}},
	}}})
	b.send("events", body("hello"))
	for _, subscription := range []string{"a", "b"} {
		r, err := b.NewReceiverForSubscription("events", subscription, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.receive(r); string(got.Body) != "hello" {
			t.Errorf("%s received %q", subscription, got.Body)
		}
	}
}

func TestDuplicatesAreDroppedByMessageIDWhereAsked(t *testing.T) {
	b := newBus(t, oneQueue(emulators.BusQueue{RequiresDuplicateDetection: true}))
	b.send("tasks", withID("1", "first"), withID("1", "again"), withID("2", "second"))
	r := b.receiver("tasks", nil)
	for _, want := range []string{"first", "second"} {
		if got := b.receive(r); string(got.Body) != want {
			t.Errorf("received %q, want %q", got.Body, want)
		}
	}
}

func TestWrongKeysMissingEntitiesAndOversizeAreRefused(t *testing.T) {
	b := newBus(t, oneQueue(emulators.BusQueue{MaxMessageSize: 1000}))
	if err := b.sender("tasks").SendMessage(b.ctx, body(strings.Repeat("x", 2000)), nil); !errors.Is(err, azservicebus.ErrMessageTooLarge) {
		t.Errorf("oversize: %v, want ErrMessageTooLarge", err)
	}
	if _, err := b.sender("tasks").ScheduleMessages(b.ctx, []*azservicebus.Message{body(strings.Repeat("x", 2000))}, time.Now().Add(time.Hour), nil); err == nil {
		t.Error("an oversize message was scheduled")
	}
	err := b.sender("nowhere").SendMessage(b.ctx, body("x"), nil)
	if err == nil || !strings.Contains(err.Error(), "amqp:not-found") {
		t.Errorf("missing entity: %v, want amqp:not-found", err)
	}
	e := emulators.ServiceBus(t, oneQueue(emulators.BusQueue{}))
	stranger := strings.Replace(azureemu.ServiceBusConnectionString(e.Addr()), "SharedAccessKey=taskgate", "SharedAccessKey=wrong", 1)
	s, err := dial(t, stranger).NewSender("tasks", nil)
	if err != nil {
		t.Fatal(err)
	}
	err = s.SendMessage(b.ctx, body("x"), nil)
	if refused := (*azservicebus.Error)(nil); !errors.As(err, &refused) || refused.Code != azservicebus.CodeUnauthorizedAccess {
		t.Errorf("wrong key: %v, want CodeUnauthorizedAccess", err)
	}
}
