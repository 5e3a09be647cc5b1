package main_test

import (
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/taskgate/taskgate/tests/crash"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
)

// inside matches goroutines that are at work on a request.
var inside = regexp.MustCompile(`(?m)^github\.com/taskgate/taskgate/(core|adapters)/`)

// TestFaultsAreAnsweredInTimeAndRepeatsMakeOneTask: through the binary,
// with the fault proxies between it and the account.
func TestFaultsAreAnsweredInTimeAndRepeatsMakeOneTask(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the race detector does not see into the binary")
	}
	c := newCloud(t)
	c.timeout = 8 * time.Second
	proxies := c.behindProxies()
	d := deployFront(c, "AWS_LAMBDA_MAX_CONCURRENCY=100")
	working := d.invokedLater()

	var steps []crash.Step
	add := func(name, service string, fault faultproxy.Fault, only ...string) {
		steps = append(steps, crash.Step{Name: name + " at " + service, Only: only, Hold: func(_, args string) {
			proxies[service].Always(about(args), fault)
		}})
	}
	for name, fault := range map[string]faultproxy.Fault{
		"throttled": faultproxy.AWSThrottled, "unavailable": faultproxy.AWSUnavailable, "expired": faultproxy.AWSExpired, "denied": faultproxy.AWSDenied,
		"reset before": faultproxy.ResetBefore, "reset after": faultproxy.ResetAfter, "silent before": faultproxy.SilentBefore, "silent after": faultproxy.SilentAfter,
		"truncated": faultproxy.Truncated, "html": faultproxy.Status(http.StatusOK, "<html>"), "too late": faultproxy.Latency(time.Minute),
	} {
		add(name, "DYNAMODB", fault, "sqs")
		add(name, "SQS", fault, "sqs")
	}
	add("reset after", "SNS", faultproxy.ResetAfter, "sns")
	add("silent after", "SCHEDULER", faultproxy.SilentAfter, "scheduler")
	add("reset after", "LAMBDA", faultproxy.ResetAfter, "lambda")
	crash.Faults(t, crash.Service{
		Client: crash.Client{URL: d.base, Key: "key-of-alice"}, Owner: "alice", MaxInFlight: 11 * time.Second,
		Targets: targets, Steps: steps,
		Restore: func() {
			for _, p := range proxies {
				p.Restore()
			}
		},
		Work: func() {
			d.fire(0)
			d.work()
			close(working)
		},
	}, c.timeout)
	if left := d.front.Goroutines(inside); len(left) > 0 {
		t.Errorf("%d goroutines are left behind, one of them\n%s", len(left), left[0])
	}
}
