package faultproxy

import (
	"bytes"
	"slices"
)

// hold is what stops a connection: bytes of the client's.
type hold struct {
	text  []byte
	after bool
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

// Watch begins to count a text in what clients send; Count is how often it has come since.
func (p *TCP) Watch(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watched[text] += 0
}

// Count is how often a watched text has come from clients.
func (p *TCP) Count(text string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.watched[text]
}

// longestText is how much of a text may be in the bytes before.
const longestText = 100

// heard looks for texts in what the client has sent, and reports whether it goes nowhere.
func (l *link) heard(tail, now []byte) (swallow bool) {
	sent := append(tail, now...)
	l.proxy.mu.Lock()
	for text := range l.proxy.watched {
		l.proxy.watched[text] += bytes.Count(sent, []byte(text)) - bytes.Count(tail, []byte(text))
	}
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
