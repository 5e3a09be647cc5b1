package emulators_test

import (
	"errors"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
)

func TestAbandonedMessagesComeBackUntilTheyAreDeadLettered(t *testing.T) {
	b := newBus(t, oneQueue(emulators.BusQueue{MaxDeliveryCount: 2}))
	b.send("tasks", withID("1", "hello"))
	r := b.receiver("tasks", nil)
	for attempt := uint32(1); attempt <= 2; attempt++ {
		got := b.receive(r)
		if got.DeliveryCount != attempt {
			t.Errorf("delivery count %d, want %d", got.DeliveryCount, attempt)
		}
		if err := r.AbandonMessage(b.ctx, got, nil); err != nil {
			t.Fatal(err)
		}
	}
	dead := b.receive(b.receiver("tasks", &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter}))
	if string(dead.Body) != "hello" || dead.MessageID != "1" || *dead.DeadLetterReason != "MaxDeliveryCountExceeded" {
		t.Errorf("dead letter %+v", dead)
	}
}

func TestDeadLetteringKeepsTheReason(t *testing.T) {
	b := newBus(t, oneQueue(emulators.BusQueue{}))
	b.send("tasks", body("hello"))
	r := b.receiver("tasks", nil)
	reason, description := "poison", "cannot be read"
	err := r.DeadLetterMessage(b.ctx, b.receive(r), &azservicebus.DeadLetterOptions{Reason: &reason, ErrorDescription: &description})
	if err != nil {
		t.Fatal(err)
	}
	dead := b.receive(b.receiver("tasks", &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter}))
	if *dead.DeadLetterReason != reason || *dead.DeadLetterErrorDescription != description {
		t.Errorf("dead letter %+v", dead)
	}
}

func TestALapsedLockIsLostAndTheMessageRedelivered(t *testing.T) {
	b := newBus(t, oneQueue(emulators.BusQueue{LockDuration: 400 * time.Millisecond}))
	b.send("tasks", body("hello"))
	r := b.receiver("tasks", nil)
	first := b.receive(r)
	granted := *first.LockedUntil
	if err := r.RenewMessageLock(b.ctx, first, nil); err != nil {
		t.Fatal(err)
	}
	if first.LockedUntil.Before(granted) {
		t.Error("renewing shortened the lock")
	}
	second := b.receive(r) // arrives when the lock has lapsed
	if second.DeliveryCount != 2 {
		t.Errorf("delivery count %d, want 2", second.DeliveryCount)
	}
	err := r.CompleteMessage(b.ctx, first, nil)
	if lost := (*azservicebus.Error)(nil); !errors.As(err, &lost) || lost.Code != azservicebus.CodeLockLost {
		t.Errorf("completing after the lock was lost: %v, want CodeLockLost", err)
	}
}

func TestExpiredMessagesAreDeadLetteredWhereAsked(t *testing.T) {
	b := newBus(t, oneQueue(emulators.BusQueue{DeadLetterOnExpiration: true}))
	ttl := time.Millisecond
	b.send("tasks", &azservicebus.Message{Body: []byte("late"), TimeToLive: &ttl}, body("in time"))
	if got := b.receive(b.receiver("tasks", nil)); string(got.Body) != "in time" {
		t.Errorf("received %q", got.Body)
	}
	dead := b.receive(b.receiver("tasks", &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter}))
	if string(dead.Body) != "late" || *dead.DeadLetterReason != "TTLExpiredException" {
		t.Errorf("dead letter %+v", dead)
	}
}

func TestASessionsMessagesGoToOneReceiver(t *testing.T) {
	b := newBus(t, oneQueue(emulators.BusQueue{RequiresSession: true}))
	red, blue := "red", "blue"
	b.send("tasks", &azservicebus.Message{Body: []byte("r1"), SessionID: &red}, &azservicebus.Message{Body: []byte("b1"), SessionID: &blue})
	if err := b.sender("tasks").SendMessage(b.ctx, body("none"), nil); err == nil {
		t.Error("a message without a session was accepted")
	}
	held, err := b.AcceptSessionForQueue(b.ctx, "tasks", blue, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.receive(held); string(got.Body) != "b1" || *got.SessionID != blue {
		t.Errorf("received %+v", got)
	}
	if _, err := b.AcceptSessionForQueue(b.ctx, "tasks", blue, nil); err == nil {
		t.Error("two receivers hold one session")
	}
	next, err := b.AcceptNextSessionForQueue(b.ctx, "tasks", nil)
	if err != nil || next.SessionID() != red {
		t.Fatalf("next session: %v, %v", next, err)
	}
	if got := b.receive(next); string(got.Body) != "r1" {
		t.Errorf("received %+v", got)
	}
	_, err = b.AcceptNextSessionForQueue(b.ctx, "tasks", nil)
	if refused := (*azservicebus.Error)(nil); !errors.As(err, &refused) || refused.Code != azservicebus.CodeTimeout {
		t.Errorf("no session left: %v, want CodeTimeout", err)
	}
}

func TestAClientRecoversWhenTheBusComesBack(t *testing.T) {
	t.Parallel()
	e := emulators.ServiceBus(t, oneQueue(emulators.BusQueue{}))
	b := &bus{t, dial(t, azureemu.ServiceBusConnectionString(e.Addr())), within(t)}
	s := b.sender("tasks")
	if err := s.SendMessage(b.ctx, body("before"), nil); err != nil {
		t.Fatal(err)
	}
	e.Kill()
	if err := s.SendMessage(b.ctx, body("during"), nil); err == nil {
		t.Fatal("a killed bus took a message")
	}
	e.Restart()
	if err := s.SendMessage(b.ctx, body("after"), nil); err != nil {
		t.Fatal(err)
	}
	if got := b.receive(b.receiver("tasks", nil)); string(got.Body) != "after" {
		t.Errorf("received %q", got.Body)
	}
}
