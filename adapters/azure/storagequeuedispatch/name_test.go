package storagequeuedispatch_test

import (
	"strings"
	"testing"

	"github.com/taskgate/taskgate/adapters/azure/storagequeuedispatch"
)

func TestCheckQueueName(t *testing.T) {
	for _, name := range []string{"abc", "tasks", "tasks-poison", "1-2-3", "123", strings.Repeat("a", 63)} {
		if rule := storagequeuedispatch.CheckQueueName(name); rule != "" {
			t.Errorf("%q %s", name, rule)
		}
	}
	for _, name := range []string{
		"", "q1", "Emails", "my_queue", "a--b", "-ab", "ab-", "q-1/messages", "a.b", "größe", "a b", "abc\n", "..", "a%2Fb", strings.Repeat("a", 64),
	} {
		if storagequeuedispatch.CheckQueueName(name) == "" {
			t.Errorf("%q breaks no rule", name)
		}
	}
}
