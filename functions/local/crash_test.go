package main_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/taskgate/taskgate/tests/crash"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
)

// TestAServiceKilledAtEachStepLosesNothing: kill -9 of the binary. Its record,
// its message and its mark are one commit, so that there are two steps that can
// be told apart: before that commit and between it and the answer. The proxy is
// in front of the service, and holds the request or its answer; the kills at
// random moments of TestSoakKillsUnderLoad are for what is in between.
func TestAServiceKilledAtEachStepLosesNothing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the race detector does not see into the binary")
	}
	sums := newSummer(t)
	dir, environ := t.TempDir(), []string{"TASKGATE_ADDR=127.0.0.1:" + freePort(t), "TASKGATE_WORKER_URL=" + sums.url}
	p := start(t, dir, environ...)
	proxy := faultproxy.New(t, p.url)
	hold := func(fault faultproxy.Fault) func(target, args string) {
		return func(_, args string) {
			proxy.Always(func(r *faultproxy.Request) bool { return bytes.Contains(r.Body, []byte(args)) }, fault)
		}
	}
	crash.Kill(t, crash.Service{
		Client: crash.Client{URL: proxy.URL()}, Owner: "local", MaxInFlight: time.Nanosecond, // nobody ever waits
		Targets: map[string]string{"local": `"backend":"default"`, "local, later": `"backend":"default","delay_seconds":2`},
		Steps: []crash.Step{
			{Name: "before the commit", Hold: hold(faultproxy.SilentBefore), Left: crash.Nothing},
			{Name: "before the answer", Hold: hold(faultproxy.SilentAfter), Left: crash.Message, Complete: true},
		},
		AwaitHeld: func(n int) { faultproxy.AwaitHeld(t, n, proxy.Held) },
		Restore: func() {
			p.kill()
			proxy.Restore()
			p = start(t, dir, environ...)
		},
		Work: func() { sums.serve(p.url) },
	})
}
