package main_test

import (
	"net/http"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/taskgate/taskgate/tests/crash"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/emulators/functionshost"
)

// requestTime is what the service gives a request, and what it cleans up after it.
const requestTime = 12 * time.Second

// inside matches goroutines that are at work on a request, or are of an SDK that
// was left alone with one.
var inside = regexp.MustCompile(`(?m)^github\.com/(taskgate/taskgate/(core|adapters/azure/(cosmosstore|storagequeuedispatch|servicebusdispatch))/|Azure/azure-sdk-for-go/sdk/(data/azcosmos|storage)\.)`)

// TestFaultsAreAnsweredInTimeAndRepeatsMakeOneTask: through the staged
// app, with the fault proxies between it and the emulators. A fault of AMQP is one
// of the whole connection, and each of the two backends has one.
func TestFaultsAreAnsweredInTimeAndRepeatsMakeOneTask(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the race detector does not see into the binary")
	}
	c := newCloud(t)
	settings, p := c.behindProxies()
	f := newFront(t)
	h := functionshost.Start(t, filepath.Join(staged, "azure"), functionshost.Options{Settings: with(settings, "TASKGATE_PUBLIC_URL", f.url)})
	f.leadsTo(h)

	steps := []crash.Step{
		{Name: "silent before, at Service Bus", Only: []string{"Service Bus queue"}, Hold: func(_, args string) { p.bus.HoldBefore(args) }},
		{Name: "silent after, at Service Bus", Only: []string{"Service Bus topic"}, Hold: func(_, args string) { p.bus.HoldAfter(args) }},
	}
	add := func(where, name string, fault faultproxy.Fault) {
		steps = append(steps, crash.Step{Name: name + ", at the " + where, Only: []string{"storage queue"}, Hold: func(_, args string) {
			if where == "store" {
				p.cosmos.Always(about("POST", "/docs", args), fault)
			} else {
				p.storage.Always(stored(args), fault)
			}
		}})
	}
	add("store", "throttled", faultproxy.CosmosThrottled(5*time.Second))
	add("queue", "throttled", faultproxy.StorageThrottled)
	for name, fault := range map[string]faultproxy.Fault{
		"unauthorized": faultproxy.AzureUnauthorized, "forbidden": faultproxy.Status(http.StatusForbidden, "{}"), "unavailable": faultproxy.Status(http.StatusServiceUnavailable, "{}"),
		"reset before": faultproxy.ResetBefore, "reset after": faultproxy.ResetAfter, "silent before": faultproxy.SilentBefore, "silent after": faultproxy.SilentAfter,
		"truncated": faultproxy.Truncated, "too late": faultproxy.Latency(time.Minute),
	} {
		add("store", name, fault)
		add("queue", name, fault)
	}
	crash.Faults(t, crash.Service{
		Client: crash.Client{URL: f.url, Key: "key-of-alice"}, Owner: "alice", MaxInFlight: maxInFlight,
		Targets: targets, Steps: steps,
		Restore: func() {
			p.cosmos.Restore()
			p.storage.Restore()
		},
		Work: func() {
			functionshost.Start(t, filepath.Join(staged, "azure-worker"), functionshost.Options{Settings: c.workerSettings(f.url)})
		},
	}, requestTime+time.Second)
	if left := h.Goroutines(inside); len(left) > 0 {
		t.Errorf("%d goroutines are left behind, one of them\n%s", len(left), left[0])
	}
}
