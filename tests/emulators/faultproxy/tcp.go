package faultproxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TCP forwards connections to one upstream address: for Service Bus' AMQP, and for HTTP where the fault
// is the connection's. It is not built on Toxiproxy, whose toxics take hold of a whole proxy: the fault that matters
// to an idle client is that its old connection is dead while new ones work.
type TCP struct {
	upstream string
	listener net.Listener
	addr     string

	mu       sync.Mutex
	links    map[*link]bool
	deaf     bool // new connections are accepted and never served
	repel    bool // new connections are reset at once
	refusing bool // the listener is closed
	accepted int
	cut      cut
	late     time.Duration // how much later answers come
	holds    []hold
	watched  map[string]int
	holding  atomic.Int64
}

// cut is where connections break.
type cut int

const (
	atNothing cut = iota
	atRequests
	atAnswers
	withinAnswers
)

// link is one connection through the proxy.
type link struct {
	proxy          *TCP
	client, server net.Conn
	mu             sync.Mutex
	silent         bool
	stale          bool // reset at the client's next bytes
	mute, deaf     bool // what the client sends, or the server, goes nowhere
	unanswered     int  // held bytes that the server has, and has not answered
}

// NewTCP starts a proxy in front of upstream, a host:port, for as long as the test runs.
func NewTCP(t testing.TB, upstream string) *TCP {
	t.Helper()
	p := &TCP{upstream: upstream, links: map[*link]bool{}, watched: map[string]int{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.listener, p.addr = listener, listener.Addr().String()
	go p.accept(listener)
	t.Cleanup(func() {
		p.Refuse()
		p.Reset()
	})
	return p
}

// Addr is the proxy's own address, as 127.0.0.1:port.
func (p *TCP) Addr() string { return p.addr }

// Accepted is the number of connections made so far.
func (p *TCP) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Open is the number of connections that are open now.
func (p *TCP) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// ResetRequests resets each connection, open now or made until Restore, whose client sends something.
// None of it arrives.
func (p *TCP) ResetRequests() { p.script(atRequests, 0) }

// ResetAnswers resets each connection, open now or made until Restore, whose server sends something.
// What the client sent did arrive.
func (p *TCP) ResetAnswers() { p.script(atAnswers, 0) }

// TruncateAnswers closes each connection, open now or made until Restore, in the middle of what its
// server sends. What the client sent did arrive.
func (p *TCP) TruncateAnswers() { p.script(withinAnswers, 0) }

// Delay makes every answer come d later, until Restore.
func (p *TCP) Delay(d time.Duration) { p.script(atNothing, d) }

func (p *TCP) script(at cut, late time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.late = at, late
}

// Drop closes the connections that are open now, in the orderly way, as a service closes idle ones.
func (p *TCP) Drop() { p.each(func(l *link) { l.close(func(c net.Conn) { _ = c.Close() }) }) }

// Reset resets the connections that are open now.
func (p *TCP) Reset() { p.each(func(l *link) { l.close(reset) }) }

// Stale resets each connection that is open now at the next bytes of its client, none of which arrive:
// the peer forgot it while it was idle. New connections work.
func (p *TCP) Stale() {
	p.each(func(l *link) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.stale = true
	})
}

// Silence makes the connections that are open now swallow everything both ways, as a firewall does
// that has forgotten them. New connections work.
func (p *TCP) Silence() {
	p.each(func(l *link) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.silent = true
	})
}

// Deafen accepts new connections and never serves them, until Restore. Connections that are open now
// are not touched.
func (p *TCP) Deafen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = true
}

// Repel accepts new connections and resets them at once, until Restore. Connections that are open now
// are not touched.
func (p *TCP) Repel() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.repel = true
}

// Refuse refuses new connections until Restore. Connections that are open now are not touched.
func (p *TCP) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = true
	_ = p.listener.Close()
}

// Restore ends all scripts and serves new connections again. Silenced connections stay silent.
func (p *TCP) Restore(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf, p.repel, p.cut, p.late = false, false, atNothing, 0
	if !p.refusing {
		return
	}
	listener, err := net.Listen("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	p.listener, p.refusing = listener, false
	go p.accept(listener)
}

func (p *TCP) each(f func(*link)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		f(l)
	}
}

func (p *TCP) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go p.serve(client)
	}
}

func (p *TCP) serve(client net.Conn) {
	l := &link{proxy: p, client: client}
	p.mu.Lock()
	p.accepted++
	deaf, repel := p.deaf, p.repel
	l.silent = deaf
	p.links[l] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
		l.close(func(c net.Conn) { _ = c.Close() })
	}()
	if repel {
		reset(client)
		return
	}
	if deaf {
		_, _ = io.Copy(io.Discard, client)
		return
	}
	server, err := net.Dial("tcp", p.upstream)
	if err != nil {
		reset(client)
		return
	}
	l.mu.Lock()
	l.server = server
	l.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.copy(client, server)
	}()
	l.copy(server, client)
	<-done
}

// copy moves bytes until one side ends, which ends the other too, unless the link has been silenced:
// then the client never hears of it.
func (l *link) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	var tail []byte // of what the client sent before, for texts that come in two pieces
	for {
		n, err := from.Read(buf)
		var swallow bool
		if from == l.client {
			swallow = l.heard(tail, buf[:n])
			tail = bytes.Clone(buf[max(0, n-longestText):n])
		} else {
			swallow = l.answered(n)
		}
		l.mu.Lock()
		silent := l.silent
		l.mu.Unlock()
		if n > 0 && !silent && !swallow {
			if werr := l.pass(to, buf[:n], from != l.client); werr != nil {
				err = werr
			}
		}
		if err != nil {
			if !silent || from == l.client {
				_ = to.Close()
				_ = from.Close()
			}
			return
		}
	}
}

var errCut = errors.New("cut")

// pass sends what one side wrote to the other, or breaks the connection as the script says.
func (l *link) pass(to net.Conn, b []byte, answer bool) error {
	l.proxy.mu.Lock()
	at, late := l.proxy.cut, l.proxy.late
	l.proxy.mu.Unlock()
	l.mu.Lock()
	stale := l.stale
	l.mu.Unlock()
	switch {
	case at == atRequests && !answer, at == atAnswers && answer, stale && !answer:
		l.close(reset)
		return errCut
	case at == withinAnswers && answer:
		_, _ = to.Write(b[:len(b)/2])
		return errCut
	case late > 0 && answer:
		time.Sleep(late)
	}
	_, err := to.Write(b)
	return err
}

func (l *link) close(how func(net.Conn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	how(l.client)
	if l.server != nil {
		how(l.server)
	}
}
