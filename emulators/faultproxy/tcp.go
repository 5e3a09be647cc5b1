package faultproxy

import (
	"bytes"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
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
	refusing bool // the listener is closed
	accepted int
	holds    []hold
	holding  atomic.Int64
}

// hold is what stops a connection: bytes of the client's.
type hold struct {
	text  []byte
	after bool
}

// link is one connection through the proxy.
type link struct {
	proxy          *TCP
	client, server net.Conn
	mu             sync.Mutex
	silent         bool
	mute, deaf     bool // what the client sends, or the server, goes nowhere
	unanswered     int  // held bytes that the server has, and has not answered
}

// NewTCP starts a proxy in front of upstream, a host:port, for as long as the test runs.
func NewTCP(t testing.TB, upstream string) *TCP {
	t.Helper()
	p := &TCP{upstream: upstream, links: map[*link]bool{}}
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

// Drop closes the connections that are open now, in the orderly way, as a service closes idle ones.
func (p *TCP) Drop() { p.each(func(l *link) { l.close(func(c net.Conn) { _ = c.Close() }) }) }

// Reset resets the connections that are open now.
func (p *TCP) Reset() { p.each(func(l *link) { l.close(reset) }) }

// Silence makes the connections that are open now swallow everything both ways, as a firewall does
// that has forgotten them. New connections work.
func (p *TCP) Silence() {
	p.each(func(l *link) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.silent = true
	})
}

// HoldBefore stops a connection at the next bytes of its client that contain text: they and whatever
// the client sends after them go nowhere.
func (p *TCP) HoldBefore(text string) { p.hold(hold{[]byte(text), false}) }

// HoldAfter forwards the next bytes that contain text, and from the server's answer on nothing comes
// back over that connection.
func (p *TCP) HoldAfter(text string) { p.hold(hold{[]byte(text), true}) }

func (p *TCP) hold(h hold) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holds = append(p.holds, h)
}

// Held is the number of texts that connections have been held at since the start.
func (p *TCP) Held() int { return int(p.holding.Load()) }

// Deafen accepts new connections and never serves them, until Restore. Connections that are open now
// are not touched.
func (p *TCP) Deafen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = true
}

// Refuse refuses new connections until Restore. Connections that are open now are not touched.
func (p *TCP) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = true
	_ = p.listener.Close()
}

// Restore serves new connections again. Silenced connections stay silent.
func (p *TCP) Restore(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = false
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
	deaf := p.deaf
	l.silent = deaf
	p.links[l] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
		l.close(func(c net.Conn) { _ = c.Close() })
	}()
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
			swallow = l.heard(append(tail, buf[:n]...))
			tail = bytes.Clone(buf[max(0, n-longestText):n])
		} else {
			swallow = l.answered(n)
		}
		l.mu.Lock()
		silent := l.silent
		l.mu.Unlock()
		if n > 0 && !silent && !swallow {
			if _, werr := to.Write(buf[:n]); werr != nil {
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

// longestText is how much of a text may be in the bytes before.
const longestText = 100

// heard looks for texts in what the client has sent, and reports whether it goes nowhere.
func (l *link) heard(sent []byte) (swallow bool) {
	l.proxy.mu.Lock()
	var found []hold
	l.proxy.holds = slices.DeleteFunc(l.proxy.holds, func(h hold) bool {
		if !bytes.Contains(sent, h.text) {
			return false
		}
		found = append(found, h)
		return true
	})
	l.proxy.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range found {
		if h.after && !l.mute {
			l.deaf = true
			l.unanswered++
			continue
		}
		l.mute = true
		l.proxy.holding.Add(1)
	}
	return l.mute
}

// answered notes what the server says to what is held, and reports whether the client is to hear it.
func (l *link) answered(n int) (swallow bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n > 0 && l.unanswered > 0 {
		l.proxy.holding.Add(int64(l.unanswered))
		l.unanswered = 0
	}
	return l.deaf
}

func (l *link) close(how func(net.Conn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	how(l.client)
	if l.server != nil {
		how(l.server)
	}
}
