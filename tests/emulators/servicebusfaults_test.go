package emulators_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/go-amqp"

	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
)

func TestATokenCredentialReachesTheBusWithoutTLS(t *testing.T) {
	t.Parallel()
	e := emulators.ServiceBus(t, oneQueue(emulators.BusQueue{}))
	client, err := azservicebus.NewClient("ns.servicebus.windows.net", azureemu.Credential{}, azureemu.ServiceBusOptions(e.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	b := &bus{t, client, within(t)}
	b.send("tasks", body("hello"))
	if got := b.receive(b.receiver("tasks", nil)); string(got.Body) != "hello" {
		t.Errorf("received %q", got.Body)
	}
}

func TestABusyOrFullEntityRefusesWithItsCondition(t *testing.T) {
	b := newBus(t, emulators.ServiceBusConfig{Queues: map[string]emulators.BusQueue{
		"busy": {Refuse: "com.microsoft:server-busy"}, "full": {Refuse: "amqp:resource-limit-exceeded"},
	}})
	for queue, want := range map[string]amqp.ErrCond{"busy": "com.microsoft:server-busy", "full": amqp.ErrCondResourceLimitExceeded} {
		err := b.sender(queue).SendMessage(b.ctx, body("x"), nil)
		if refused := (*amqp.Error)(nil); !errors.As(err, &refused) || refused.Condition != want {
			t.Errorf("%s: %v, want %s", queue, err, want)
		}
	}
}

func TestASendWhoseAnswerIsLostWasApplied(t *testing.T) {
	b := newBus(t, emulators.ServiceBusConfig{Queues: map[string]emulators.BusQueue{
		"plain":   {LoseAnswers: 1},
		"careful": {LoseAnswers: 1, RequiresDuplicateDetection: true},
	}})
	// The SDK repeats the send by itself, which only duplicate detection hides.
	for queue, want := range map[string]int{"plain": 2, "careful": 1} {
		b.send(queue, withID("1", "hello"))
		got, err := b.receiver(queue, nil).PeekMessages(b.ctx, 10, nil)
		if err != nil || len(got) != want {
			t.Errorf("%s holds %d, want %d (%v)", queue, len(got), want, err)
		}
	}
}

func TestLargeAndManyMessagesPass(t *testing.T) {
	b := newBus(t, oneQueue(emulators.BusQueue{}))
	large := strings.Repeat("x", 250<<10) // several frames each way
	b.send("tasks", body(large))
	r := b.receiver("tasks", nil)
	got := b.receive(r)
	if string(got.Body) != large {
		t.Errorf("received %d bytes", len(got.Body))
	}
	if err := r.CompleteMessage(b.ctx, got, nil); err != nil {
		t.Fatal(err)
	}
	const many = 2500 // beyond the credit that a link starts with
	s := b.sender("tasks")
	batch, err := s.NewMessageBatch(b.ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range many {
		if err := batch.AddMessage(body("x"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SendMessageBatch(b.ctx, batch, nil); err != nil {
		t.Fatal(err)
	}
	for left := many; left > 0; {
		messages, err := r.ReceiveMessages(b.ctx, 500, &azservicebus.ReceiveMessagesOptions{TimeAfterFirstMessage: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			if err := r.CompleteMessage(b.ctx, m, nil); err != nil {
				t.Fatal(err)
			}
		}
		left -= len(messages)
	}
}
