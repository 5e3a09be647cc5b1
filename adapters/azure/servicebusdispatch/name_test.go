package servicebusdispatch_test

import (
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/taskgate/taskgate/adapters/azure/servicebusdispatch"
	"github.com/taskgate/taskgate/core/task"
)

func TestCheckQueueName(t *testing.T) {
	for _, name := range []string{"a", "tasks", "Emails_v2", "a.b-c~d", "team/emails", "a--b", strings.Repeat("a", 260), "subscriptions", "subscriptions/a"} {
		if rule := servicebusdispatch.CheckQueueName(name); rule != "" {
			t.Errorf("%q %s", name, rule)
		}
	}
	for _, name := range []string{
		"", "$cbs", "$management", "x/$deadletterqueue", "x/$management", "t/Subscriptions/s", "t/subscriptions/s", "t/Subscriptions/s/$DeadLetterQueue",
		"/a", "a/", "a//b", ".a", "a-", "a b", "a?b", "a#b", "a@b", "a%2Fb", `a\b`, "größe", "a\n", strings.Repeat("a", 261),
	} {
		if servicebusdispatch.CheckQueueName(name) == "" {
			t.Errorf("%q breaks no rule", name)
		}
	}
}

func TestGroupLongerThanASessionIDIsRefused(t *testing.T) {
	d, err := servicebusdispatch.New(func() (*azservicebus.Client, error) { return nil, nil }, servicebusdispatch.Options{RequiresSession: true})
	if err != nil {
		t.Fatal(err)
	}
	for group, fits := range map[string]bool{
		"customer 17": true, "größe": true, strings.Repeat("ö", 128): true, strings.Repeat("ö", 129): false,
		strings.Repeat("😀", 64): true, strings.Repeat("😀", 65): false,
	} {
		if rule := d.Limits(t.Context(), "q", 0).CheckGroup(group); (rule == "") != fits {
			t.Errorf("%q: %q", group, rule)
		}
		if fits {
			continue
		}
		m := task.Outgoing{ID: "1", Queue: "q", Body: []byte("{}"), Group: group}
		if _, err := d.Dispatch(t.Context(), m); task.KindOf(err) != task.MessageRejected {
			t.Errorf("%q: Dispatch: %v, want %s", group, err, task.MessageRejected)
		}
		if r := d.DispatchBatch(t.Context(), []task.Outgoing{m}); task.KindOf(r[0].Err) != task.MessageRejected {
			t.Errorf("%q: DispatchBatch: %v, want %s", group, r[0].Err, task.MessageRejected)
		}
	}
}
