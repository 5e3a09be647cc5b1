// Package faultproxy makes the faults that no emulator makes. A Proxy stands in front of an HTTP
// service and fails chosen requests in chosen ways; a TCP stands in front of anything else.
//
// The difference that matters to a caller is whether the fault came before the request was applied
// or after; every fault says which.
package faultproxy

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskgate/taskgate/tests/wait"
)

// Proxy forwards HTTP requests to one upstream, but for those that a script fails. Its methods may
// be called from several goroutines.
type Proxy struct {
	upstream string
	server   *httptest.Server
	client   *http.Client
	closed   chan struct{} // ends faults that wait
	holding  atomic.Int64

	mu      sync.Mutex
	rules   []*rule
	seen    []*Request
	arrival chan struct{} // closed and replaced at each request
}

// rule holds the faults for the next matching requests; a standing rule never runs out.
type rule struct {
	match    Match
	faults   []Fault
	standing bool
}

// New starts a proxy in front of upstream, a URL without a path, for as long as the test runs.
func New(t testing.TB, upstream string) *Proxy {
	t.Helper()
	p := &Proxy{
		upstream: strings.TrimSuffix(upstream, "/"),
		closed:   make(chan struct{}),
		arrival:  make(chan struct{}),
		client: &http.Client{
			Transport:     &http.Transport{DisableCompression: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	p.server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(func() {
		close(p.closed)
		p.server.Close()
		p.client.CloseIdleConnections()
	})
	return p
}

// URL is the proxy's own address, as http://127.0.0.1:port.
func (p *Proxy) URL() string { return p.server.URL }

// Addr is the proxy's own address, as 127.0.0.1:port.
func (p *Proxy) Addr() string { return p.server.Listener.Addr().String() }

// Next fails the next len(faults) requests that match, in this order. Scripts are tried in the order
// in which they were given.
func (p *Proxy) Next(match Match, faults ...Fault) { p.add(&rule{match: match, faults: faults}) }

// Always fails every request that matches, until Restore.
func (p *Proxy) Always(match Match, fault Fault) {
	p.add(&rule{match: match, faults: []Fault{fault}, standing: true})
}

func (p *Proxy) add(r *rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, r)
}

// Restore drops all scripts; the counts stay.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
}

// Requests are the requests that match and have arrived so far, failed or not, in order.
func (p *Proxy) Requests(match Match) []*Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []*Request
	for _, r := range p.seen {
		if match(r) {
			found = append(found, r)
		}
	}
	return found
}

// Count is the number of requests that match and have arrived so far, failed or not.
func (p *Proxy) Count(match Match) int { return len(p.Requests(match)) }

// Await returns once n matching requests have arrived, failed or not. It fails the test when nothing
// arrives for [wait.Patience].
func (p *Proxy) Await(t testing.TB, match Match, n int) {
	t.Helper()
	for {
		p.mu.Lock()
		arrival := p.arrival
		p.mu.Unlock()
		got := p.Count(match)
		if got >= n {
			return
		}
		select {
		case <-arrival:
		case <-time.After(wait.Patience):
			t.Fatalf("%d of %d requests arrived within %v", got, n, wait.Patience)
		}
	}
}

// Held is the number of requests that are held or silenced now: each is at the step at which its
// fault stops it.
func (p *Proxy) Held() int { return int(p.holding.Load()) }

// AwaitHeld returns once n are held by all the proxies together, whose Held methods are given. It fails
// the test when that takes longer than [wait.Patience].
func AwaitHeld(t testing.TB, n int, helds ...func() int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(wait.Patience); ; <-tick.C {
		all := 0
		for _, held := range helds {
			all += held()
		}
		if all >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d are held after %v", all, n, wait.Patience)
		}
	}
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	arrived := newRequest(r, body)
	forwarded := *arrived // faults may change it
	x := &Exchange{Request: &forwarded, proxy: p, w: w, r: r}
	if fault := p.take(arrived); fault != nil {
		fault(x)
		return
	}
	x.pass()
}

// take notes the request and returns the fault it is to have, if any.
func (p *Proxy) take(r *Request) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, r)
	close(p.arrival)
	p.arrival = make(chan struct{})
	for _, rule := range p.rules {
		if len(rule.faults) == 0 || !rule.match(r) {
			continue
		}
		fault := rule.faults[0]
		if !rule.standing {
			rule.faults = rule.faults[1:]
		}
		return fault
	}
	return nil
}

// Exchange is one request and what a fault may do with it.
type Exchange struct {
	*Request
	proxy *Proxy
	w     http.ResponseWriter
	r     *http.Request
}

// Answer is a response with its whole body.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Forward sends the request upstream and reads the whole answer. It goes on when the client has
// gone: what was forwarded is applied.
func (x *Exchange) Forward() (*Answer, error) {
	target, err := url.Parse(x.proxy.upstream + x.r.URL.RequestURI())
	if err != nil {
		return nil, err
	}
	req := &http.Request{
		Method: x.Method, URL: target, Host: x.r.Host, Header: x.Header.Clone(),
		Body: io.NopCloser(bytes.NewReader(x.Body)), ContentLength: int64(len(x.Body)),
	}
	res, err := x.proxy.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	return &Answer{res.StatusCode, res.Header, body}, nil
}

// Answer sends an answer to the client.
func (x *Exchange) Answer(a *Answer) {
	for key, values := range a.Header {
		if key != "Content-Length" && key != "Connection" && key != "Keep-Alive" && key != "Transfer-Encoding" {
			x.w.Header()[key] = values
		}
	}
	x.w.WriteHeader(a.Status)
	_, _ = x.w.Write(a.Body)
}

// pass forwards and answers; a dead upstream shows as a reset, as it would without the proxy.
func (x *Exchange) pass() {
	answer, err := x.Forward()
	if err != nil {
		x.Reset()
		return
	}
	x.Answer(answer)
}
