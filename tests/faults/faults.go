package faults

import (
	"testing"
	"time"

	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
)

// Path leads to an HTTP service through two proxies: one makes faults of connections, the other
// faults of requests.
type Path struct {
	TCP     *faultproxy.TCP
	Service *faultproxy.Proxy
}

// To starts a path to upstream (a URL without a path) that lasts until the test ends.
func To(t testing.TB, upstream string) Path {
	t.Helper()
	service := faultproxy.New(t, upstream)
	return Path{faultproxy.NewTCP(t, service.Addr()), service}
}

// URL is the address to give to the adapter.
func (p Path) URL() string { return "http://" + p.TCP.Addr() }

// Addr is URL without the scheme.
func (p Path) Addr() string { return p.TCP.Addr() }

// Cloud holds the ways in which a service refuses requests.
type Cloud struct {
	Throttled, Broken, Expired, Denied faultproxy.Fault

	// Wait says that the error of a throttled call must have a RetryAfter: the service gives one, or
	// the adapter knows one.
	Wait bool
}

// The clouds' services. Cosmos DB and Storage answer 401 to an expired Entra token, and 403 to an
// expired token of their own.
var (
	AWS = Cloud{faultproxy.AWSThrottled, faultproxy.AWSUnavailable, faultproxy.AWSExpired, faultproxy.AWSDenied, true}

	Storage = Cloud{
		faultproxy.StorageThrottled, faultproxy.StorageError(500, "InternalError"),
		faultproxy.AzureUnauthorized, faultproxy.StorageError(403, "AuthenticationFailed"), false,
	}

	Cosmos = Cloud{
		faultproxy.CosmosThrottled(5 * time.Second), faultproxy.Status(503, "{}"),
		faultproxy.AzureUnauthorized, faultproxy.Status(403, "{}"), true,
	}
)

// Faults returns the faults of requests that match, and of their connections. Set meets if a
// repeated call may find its own earlier effect, which is success.
func (p Path) Faults(match faultproxy.Match, c Cloud, meets bool) []Fault {
	applied := Refused
	if meets {
		applied = Either
	}
	request := func(name string, want Want, f faultproxy.Fault) Fault {
		return Fault{
			Name: name, Want: want,
			Begin: func() { p.Service.Always(match, f) },
			End:   func(testing.TB) { p.Service.Restore() },
		}
	}
	faults := []Fault{
		request("latency", Served, faultproxy.Latency(50*time.Millisecond)),
		request("reset before", Refused, faultproxy.ResetBefore),
		request("reset after", applied, faultproxy.ResetAfter),
		request("truncated", applied, faultproxy.Truncated),
		request("throttled", Refused, c.Throttled),
		request("server error", Refused, c.Broken),
		request("bad gateway", Refused, faultproxy.Status(502, "<html>")),
		request("expired", Refused, c.Expired),
		request("denied", Refused, c.Denied),
		request("silent before", Refused, faultproxy.SilentBefore),
		request("silent after", Refused, faultproxy.SilentAfter),
	}
	for i := range faults {
		switch faults[i].Name {
		case "throttled":
			faults[i].Wait = c.Wait
		case "silent before", "silent after":
			faults[i].Silent = true
		}
	}
	for _, f := range Connection(p.TCP) {
		switch f.Name {
		case "dropped", "half-open", "blackhole", "refused":
			faults = append(faults, f)
		}
	}
	return faults
}

// Connection returns the faults of connections, which work with any protocol.
func Connection(p *faultproxy.TCP) []Fault {
	all := []Fault{
		{Name: "latency", Want: Served, Begin: func() { p.Delay(20 * time.Millisecond) }},
		{Name: "reset before", Begin: p.ResetRequests},
		{Name: "reset after", Begin: p.ResetAnswers},
		{Name: "truncated", Begin: p.TruncateAnswers},
		{Name: "dropped", Want: Either, Begin: p.Drop},
		{Name: "half-open", Want: Either, Silent: true, Begin: p.Silence},
		{Name: "blackhole", Silent: true, Begin: func() { p.Deafen(); p.Silence() }},
		{Name: "refused", Begin: func() { p.Refuse(); p.Reset() }},
	}
	for i := range all {
		all[i].End = p.Restore
	}
	return all
}
