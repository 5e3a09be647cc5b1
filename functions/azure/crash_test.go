package main_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/taskgate/taskgate/tests/crash"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/emulators/functionshost"
	"github.com/taskgate/taskgate/tests/wait"
)

// proxies stand between the API and the emulators.
type proxies struct {
	cosmos, storage *faultproxy.Proxy
	bus             *faultproxy.TCP
}

// behindProxies returns the API's settings, by which it goes through proxies.
func (c *cloud) behindProxies() (map[string]string, proxies) {
	c.t.Helper()
	p := proxies{faultproxy.New(c.t, c.cosmos.URL()), faultproxy.New(c.t, c.storage.URL()), faultproxy.NewTCP(c.t, c.bus.Addr())}
	through := strings.NewReplacer(c.cosmos.Addr(), p.cosmos.Addr(), c.storage.Addr(), p.storage.Addr(), c.bus.Addr(), p.bus.Addr())
	settings := c.apiSettings()
	for name, value := range settings {
		settings[name] = through.Replace(value)
	}
	return settings, p
}

// about matches requests whose body contains the text.
func about(method, path, text string) faultproxy.Match {
	route := faultproxy.Route(method, path)
	return func(r *faultproxy.Request) bool { return route(r) && bytes.Contains(r.Body, []byte(text)) }
}

var messageText = regexp.MustCompile("<MessageText>(.*)</MessageText>")

// stored matches what is put into a Storage queue, by its text.
func stored(text string) faultproxy.Match {
	return func(r *faultproxy.Request) bool {
		m := messageText.FindSubmatch(r.Body)
		if m == nil {
			return false
		}
		body, err := base64.StdEncoding.DecodeString(string(m[1]))
		return err == nil && bytes.Contains(body, []byte(text))
	}
}

// targets are what a request to each of the three has.
var targets = map[string]string{
	"Service Bus queue": `"backend":"default"`, "Service Bus topic": `"backend":"topic"`, "storage queue": `"backend":"storage"`,
}

// maxInFlight is how long somebody else may be dispatching: the platform tells
// no deadline that comes sooner than the service's own 10 s, and 5 s are added.
const maxInFlight = 15 * time.Second

// TestAHandlerKilledAtEachStepLosesNothing: kill -9 of the binary, while the
// fault proxies hold its calls before or after they are applied. A connection to
// Service Bus stands still for good once a message on it is held: that step
// comes last.
func TestAHandlerKilledAtEachStepLosesNothing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the race detector does not see into the binary")
	}
	c := newCloud(t)
	settings, p := c.behindProxies()
	f := newFront(t)
	h := functionshost.Start(t, filepath.Join(staged, "azure"), functionshost.Options{Settings: with(settings, "TASKGATE_PUBLIC_URL", f.url)})
	f.leadsTo(h)

	created := func(fault faultproxy.Fault) func(target, args string) {
		return func(_, args string) { p.cosmos.Always(about("POST", "/docs", args), fault) }
	}
	marked := func(fault faultproxy.Fault) func(target, args string) {
		return func(_, args string) { p.cosmos.Always(about("PUT", "/docs", args), fault) }
	}
	sent := func(fault faultproxy.Fault, bus func(string)) func(target, args string) {
		return func(target, args string) {
			if target == "storage queue" {
				p.storage.Always(stored(args), fault)
			} else {
				bus(args)
			}
		}
	}
	crash.Kill(t, crash.Service{
		Client: crash.Client{URL: f.url, Key: "key-of-alice"}, Owner: "alice", MaxInFlight: maxInFlight,
		Targets: targets,
		Steps: []crash.Step{
			{Name: "before the record", Hold: created(faultproxy.SilentBefore), Left: crash.Nothing},
			{Name: "after the record", Hold: created(faultproxy.SilentAfter), Left: crash.Record},
			{Name: "before the mark", Hold: marked(faultproxy.SilentBefore), KeyedOnly: true},
			{Name: "before the answer", Hold: marked(faultproxy.SilentAfter), KeyedOnly: true, Complete: true},
			{Name: "after the dispatch", Hold: sent(faultproxy.SilentAfter, p.bus.HoldAfter), Left: crash.Message},
			{Name: "before the dispatch", Hold: sent(faultproxy.SilentBefore, p.bus.HoldBefore), Left: crash.Record},
		},
		AwaitHeld: func(n int) { faultproxy.AwaitHeld(t, n, p.cosmos.Held, p.storage.Held, p.bus.Held) },
		Restore: func() {
			h.KillHandler()
			p.cosmos.Restore()
			p.storage.Restore()
			ctx, cancel := context.WithTimeout(t.Context(), wait.Patience)
			defer cancel()
			if err := h.AwaitStart(ctx, 2); err != nil {
				t.Fatal(err)
			}
		},
		Work: func() {
			functionshost.Start(t, filepath.Join(staged, "azure-worker"), functionshost.Options{Settings: c.workerSettings(f.url)})
		},
	})
}
