package faults

import (
	"testing"
	"time"

	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
)

// Path is the way to an HTTP service: connections go through one proxy, and their requests through
// another.
type Path struct {
	TCP     *faultproxy.TCP
	Service *faultproxy.Proxy
}

// To starts a path to upstream, a URL without a path, for as long as the test runs.
func To(t testing.TB, upstream string) Path {
	t.Helper()
	service := faultproxy.New(t, upstream)
	return Path{faultproxy.NewTCP(t, service.Addr()), service}
}

// URL is where the adapter should find the service.
func (p Path) URL() string { return "http://" + p.TCP.Addr() }

// Addr is URL without the scheme.
func (p Path) Addr() string { return p.TCP.Addr() }

// Cloud is how a service refuses.
type Cloud struct {
	Throttled, Broken, Expired, Denied faultproxy.Fault

	// Wait says that a client which was throttled is told when to come back, by the service or by what
	// is known of it.
	Wait bool
}

// The clouds' services. To a token that has expired Cosmos DB and Storage answer 401 if it is Entra's,
// and 403 if it is one of their own.
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

// Faults are those of the requests that match, and of the connections under them. meets says that a
// call which is repeated may meet what it did before, and that this is success.
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

// Connection are the faults that need no knowledge of what is sent.
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
