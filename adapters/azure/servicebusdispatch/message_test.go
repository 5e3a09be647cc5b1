package servicebusdispatch

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/go-amqp"

	"github.com/taskgate/taskgate/core/task"
)

func TestMessage(t *testing.T) {
	m := task.Outgoing{ID: "id-1", Body: []byte(`{}`), Attributes: map[string]string{"task_id": "id-1", "task_name": "send"}}
	grouped := m
	grouped.Group = "customer-1"
	for name, c := range map[string]struct {
		m        task.Outgoing
		sessions bool
		session  string // "" = none
	}{
		"plain":                  {m, false, ""},
		"a session of its own":   {m, true, "id-1"},
		"the session of a group": {grouped, true, "customer-1"},
	} {
		got := (&Dispatcher{options: Options{RequiresSession: c.sessions}}).message(c.m)
		want := &azservicebus.Message{
			Body: []byte(`{}`), MessageID: new("id-1"), ContentType: new("application/json"),
			ApplicationProperties: map[string]any{"task_id": "id-1", "task_name": "send"},
		}
		if c.session != "" {
			want.SessionID = new(c.session)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func TestDueIsAWholeMillisecondAndNeverEarly(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for after, want := range map[time.Duration]time.Duration{ // 0 = at once
		-time.Hour: 0, 0: 0, time.Microsecond: time.Millisecond, time.Millisecond: time.Millisecond, 1500 * time.Microsecond: 2 * time.Millisecond,
		365 * 24 * time.Hour: 365 * 24 * time.Hour,
	} {
		got := due(task.Outgoing{Due: task.At(now.Add(after))}, now)
		if want == 0 && !got.IsZero() || want != 0 && !got.Equal(now.Add(want)) {
			t.Errorf("due after %v: %v, want after %v", after, got, want)
		}
	}
	if got := due(task.Outgoing{}, now); !got.IsZero() {
		t.Errorf("no due: %v", got)
	}
}

func TestCheckRefusesOversizeMessagesAndGroups(t *testing.T) {
	d, err := New(func() (*azservicebus.Client, error) { return nil, nil }, Options{MaxMessageBytes: 108 << 10}) // 8 KiB of it for headers
	if err != nil {
		t.Fatal(err)
	}
	long := func(n int) string { return strings.Repeat("x", n) }
	for name, c := range map[string]struct {
		m    task.Outgoing
		kind task.Kind
	}{
		"small":                {task.Outgoing{Body: []byte("{}")}, ""},
		"as large as it may":   {task.Outgoing{Body: []byte(long(100 << 10))}, ""},
		"too large":            {task.Outgoing{Body: []byte(long(100<<10 + 1))}, task.MessageTooLarge},
		"a large attribute":    {task.Outgoing{Attributes: map[string]string{"a": long(32 << 10)}}, ""},
		"a too large one":      {task.Outgoing{Attributes: map[string]string{"a": long(32<<10 + 1)}}, task.MessageTooLarge},
		"too large ones":       {task.Outgoing{Attributes: map[string]string{"a": long(32 << 10), "b": long(32 << 10)}}, task.MessageTooLarge},
		"too large together":   {task.Outgoing{Body: []byte(long(90 << 10)), Attributes: map[string]string{"a": long(32 << 10)}}, task.MessageTooLarge},
		"a group, no sessions": {task.Outgoing{Group: "g"}, task.MessageRejected},
	} {
		if err := d.check(c.m); task.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %q", name, err, c.kind)
		}
	}
}

func TestLimitsSayWhatIsKnown(t *testing.T) {
	connect := func() (*azservicebus.Client, error) { return nil, nil }
	plain, _ := New(connect, Options{})
	l := plain.Limits(t.Context(), "q", 0)
	if l.GroupMode.Supported() || l.FanOut || l.MaxDeliveries != nil || l.MaxDelaySeconds != nil || *l.MaxMessageBytes != 248<<10 || !l.SupportsDefer || !l.SupportsCancel {
		t.Errorf("by default: %+v", l)
	}
	*l.MaxMessageBytes = 1 // the caller's own
	told, _ := New(connect, Options{Topic: true, RequiresSession: true, MaxMessageBytes: 1 << 20, MaxDeliveries: 10})
	l = told.Limits(t.Context(), "q", 0)
	if l.GroupMode != task.GroupOrder || !l.FanOut || *l.MaxDeliveries != 10 || *l.MaxMessageBytes != 1016<<10 {
		t.Errorf("as told: %+v", l)
	}
	if l = plain.Limits(t.Context(), "q", 0); *l.MaxMessageBytes != 248<<10 {
		t.Error("a caller changed the limits")
	}
	if _, err := New(func() (*azservicebus.Client, error) { return nil, errors.New("no key") }, Options{}); err == nil || !strings.Contains(err.Error(), "no key") {
		t.Errorf("New: %v", err)
	}
}

// refusedRequest is how the SDK shows a refused request.
type refusedRequest struct{ status int }

func (r refusedRequest) Error() string { return "SECRET" }
func (r refusedRequest) RPCCode() int  { return r.status }

func TestTranslate(t *testing.T) {
	amqpError := func(c amqp.ErrCond) error { return &amqp.Error{Condition: c, Description: "SECRET"} }
	detached := func(c amqp.ErrCond) error {
		return &amqp.LinkError{RemoteErr: &amqp.Error{Condition: c, Description: "SECRET"}}
	}
	coded := func(c azservicebus.Code) error { return fmt.Errorf("SECRET: %w", &azservicebus.Error{Code: c}) }
	for name, c := range map[string]struct {
		err   error
		kind  task.Kind
		says  string
		after time.Duration
		dead  bool
	}{
		"none":               {nil, "", "", 0, false},
		"too large":          {azservicebus.ErrMessageTooLarge, task.MessageTooLarge, "larger", 0, false},
		"too large, said":    {amqpError(amqp.ErrCondMessageSizeExceeded), task.MessageTooLarge, "larger", 0, false},
		"no entity":          {coded(azservicebus.CodeNotFound), task.Unavailable, "no queue or topic mail", 0, true},
		"no entity, said":    {detached(amqp.ErrCondNotFound), task.Unavailable, "no queue or topic mail", 0, true},
		"unauthorized":       {coded(azservicebus.CodeUnauthorizedAccess), task.Unavailable, "not let", 0, true},
		"unauthorized, said": {detached(amqp.ErrCondUnauthorizedAccess), task.Unavailable, "not let", 0, true},
		"full":               {amqpError(amqp.ErrCondResourceLimitExceeded), task.Unavailable, "full", 0, false},
		"full, scheduling":   {refusedRequest{403}, task.Unavailable, "full", 0, false},
		"busy":               {amqpError("com.microsoft:server-busy"), task.Unavailable, "busy", 10 * time.Second, false},
		"busy, scheduling":   {refusedRequest{503}, task.Unavailable, "busy", 10 * time.Second, false},
		"disabled":           {amqpError("com.microsoft:entity-disabled"), task.Unavailable, "disabled", 0, false},
		"no session":         {amqpError(amqp.ErrCondNotAllowed), task.Unavailable, "sessions", 0, false},
		"no session, sched.": {refusedRequest{400}, task.Unavailable, "sessions", 0, false},
		"closed":             {coded(azservicebus.CodeClosed), task.Unavailable, "unknown", 0, true},
		"lost":               {coded(azservicebus.CodeConnectionLost), task.Unavailable, "unknown", 0, false},
		"connection":         {&amqp.ConnError{}, task.Unavailable, "unknown", 0, true},
		"deadline":           {context.DeadlineExceeded, task.Unavailable, "in time", 0, false},
		"cancelled":          {fmt.Errorf("SECRET: %w", context.Canceled), task.Unavailable, "in time", 0, false},
		"anything":           {errors.New("SECRET"), task.Unavailable, "unknown", 0, false},
	} {
		err := translate(c.err, "mail")
		var e *task.Error
		if errors.As(err, &e); task.KindOf(err) != c.kind ||
			e != nil && (!strings.Contains(e.Msg, c.says) || strings.Contains(e.Msg, "SECRET") || e.RetryAfter != c.after || !errors.Is(err, c.err) || !strings.Contains(err.Error(), "mail")) {
			t.Errorf("%s: %v", name, err)
		}
		if got := dead(c.err); got != c.dead {
			t.Errorf("%s: the link is dead: %t", name, got)
		}
	}
}
