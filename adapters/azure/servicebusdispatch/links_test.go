package servicebusdispatch

import (
	"context"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
)

// TestDeadLinkIsReplacedWithinTheRequest closes a link as the
// service does when an authorisation lapses: the SDK then refuses to use it, and
// never makes another.
func TestDeadLinkIsReplacedWithinTheRequest(t *testing.T) {
	t.Parallel()
	e := emulators.ServiceBus(t, emulators.ServiceBusConfig{Queues: map[string]emulators.BusQueue{"tasks": {}}})
	d, err := New(func() (*azservicebus.Client, error) {
		return azservicebus.NewClientFromConnectionString(azureemu.ServiceBusConnectionString(e.Addr()), ClientOptions())
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		_ = d.links.client.Close(ctx)
	})
	if err := d.Prewarm(t.Context(), "tasks"); err != nil {
		t.Fatal(err)
	}
	later := task.At(time.Now().Add(time.Hour))
	for name, m := range map[string]task.Outgoing{
		"sent":      {ID: task.NewID(), Queue: "tasks", Body: []byte(`{}`)},
		"scheduled": {ID: task.NewID(), Queue: "tasks", Body: []byte(`{}`), Due: later},
	} {
		s, err := d.links.sender("tasks")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Dispatch(t.Context(), m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if now, _ := d.links.sender("tasks"); now == s {
			t.Errorf("%s: the dead link is still there", name)
		}
	}
	// One that was never any good is not tried twice within a request.
	calls := 0
	_, err = use(t.Context(), &d.links, "another", func(context.Context, *azservicebus.Sender) (struct{}, error) {
		calls++
		return struct{}{}, &azservicebus.Error{Code: azservicebus.CodeUnauthorizedAccess}
	})
	if task.KindOf(err) != task.Unavailable || calls != 1 {
		t.Errorf("a new link that is refused: %v after %d calls", err, calls)
	}
}
