package main_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/taskgate/taskgate/tests/crash"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
)

// behindProxies puts a fault proxy in front of every service of the account:
// between it and whatever is started from now on, not before the test.
func (c *cloud) behindProxies() map[string]*faultproxy.Proxy {
	c.Helper()
	proxies := map[string]*faultproxy.Proxy{}
	for service, url := range c.endpoints {
		proxies[service] = faultproxy.New(c, url)
		c.endpoints[service] = proxies[service].URL()
	}
	return proxies
}

// about matches calls whose body contains all of the texts.
func about(texts ...string) faultproxy.Match {
	return func(r *faultproxy.Request) bool {
		for _, text := range texts {
			if !bytes.Contains(r.Body, []byte(text)) {
				return false
			}
		}
		return true
	}
}

// targets are what a request to each of the four has, delayed where it goes by
// the Scheduler: it is not due before the request is repeated.
var targets = map[string]string{
	"sqs": `"backend":"default"`, "sns": `"backend":"topic"`, "lambda": `"backend":"function"`, "scheduler": `"backend":"scheduler","delay_seconds":14`,
}

// invokedLater adds the worker's function, which takes events at once, and runs
// them when the channel is closed.
func (d *deployment) invokedLater() chan<- struct{} {
	working := make(chan struct{})
	d.lambda.Add(function, func(ctx context.Context, payload []byte) error {
		select {
		case <-working:
			return d.worker.Handle(ctx, payload)
		case <-ctx.Done():
			return ctx.Err()
		}
	}, 2)
	return working
}

// TestAServiceKilledAtEachStepLosesNothing: kill -9 of the binary, while the
// fault proxies hold its calls before or after they are applied.
func TestAServiceKilledAtEachStepLosesNothing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the race detector does not see into the binary")
	}
	c := newCloud(t)
	c.timeout = 8 * time.Second // of which the service keeps 2 s: what the dead might still be doing is over 11 s after they began
	proxies := c.behindProxies()
	d := deployFront(c, "AWS_LAMBDA_MAX_CONCURRENCY=100")
	working := d.invokedLater()

	services := map[string]string{"sqs": "SQS", "sns": "SNS", "scheduler": "SCHEDULER", "lambda": "LAMBDA"}
	store := proxies["DYNAMODB"]
	var held []func() int
	for _, p := range proxies {
		held = append(held, p.Held)
	}
	created := func(fault faultproxy.Fault) func(target, args string) {
		return func(_, args string) { store.Always(about(args, "attribute_not_exists(id)"), fault) }
	}
	marked := func(fault faultproxy.Fault) func(target, args string) {
		return func(_, args string) { store.Always(about(args, "revision = :was"), fault) }
	}
	sent := func(fault faultproxy.Fault) func(target, args string) {
		return func(target, args string) { proxies[services[target]].Always(about(args), fault) }
	}
	crash.Kill(t, crash.Service{
		Client: crash.Client{URL: d.base, Key: "key-of-alice"}, Owner: "alice", MaxInFlight: 11 * time.Second,
		Targets: targets,
		Steps: []crash.Step{
			{Name: "before the record", Hold: created(faultproxy.SilentBefore), Left: crash.Nothing},
			{Name: "after the record", Hold: created(faultproxy.SilentAfter), Left: crash.Record},
			{Name: "before the dispatch", Hold: sent(faultproxy.SilentBefore), Left: crash.Record},
			{Name: "after the dispatch", Hold: sent(faultproxy.SilentAfter), Left: crash.Message},
			{Name: "before the mark", Hold: marked(faultproxy.SilentBefore), KeyedOnly: true},
			{Name: "before the answer", Hold: marked(faultproxy.SilentAfter), KeyedOnly: true, Complete: true},
		},
		AwaitHeld: func(n int) { faultproxy.AwaitHeld(t, n, held...) },
		Restore: func() {
			d.front.Kill()
			for _, p := range proxies {
				p.Restore()
			}
			d.front.Restart()
		},
		Work: func() {
			d.fire(0)
			d.work()
			close(working)
		},
	})
}
