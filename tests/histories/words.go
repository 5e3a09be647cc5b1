package histories

import (
	"fmt"
	"strings"
	"time"
)

// String describes the operation for a picture or a failure.
func (c call) String() string {
	switch c.kind {
	case enqueue, accept:
		return fmt.Sprintf("%s #%d request %d max_attempts %d keyed %t", c.kind, c.n, c.request, c.limit, c.keyed)
	case get, cancel:
		return c.kind
	case started:
		return fmt.Sprintf("started by %d for %v", c.delivery, c.lease)
	case deadLettered:
		return c.kind
	case failed:
		return fmt.Sprintf("failed attempt %d retryable %t", c.attempt, c.retry)
	case succeeded, progress:
		return fmt.Sprintf("%s attempt %d: %d", c.kind, c.attempt, c.value)
	}
	return fmt.Sprintf("%s attempt %d", c.kind, c.attempt)
}

// String describes the answer.
func (a answer) String() string {
	s := a.brief()
	if a.acknowledge != nil {
		s += fmt.Sprintf(" acknowledge %t", *a.acknowledge)
	}
	if a.lease != 0 {
		s += fmt.Sprintf(" lease until %v", a.lease.Round(time.Millisecond))
	}
	if d := a.doc; d != nil {
		s += fmt.Sprintf(" [%.8s %s %s, request %v, %d attempts %v, %d errors, asked %t, %s]", d.ID, d.Status, d.State, d.Args, d.Attempts, d.WorkerIDs, len(d.Errors), d.CancelRequested, d.ReturnValue)
	}
	return s
}

// brief names the kind of the answer.
func (a answer) brief() string {
	switch {
	case a.lost:
		return "lost"
	case a.replayed:
		return "202 replayed"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s%s", a.status, a.code, a.outcome))
}

// String describes the state for a picture.
func (s state) String() string {
	if !s.exists {
		return "none"
	}
	return fmt.Sprintf("%s %s request %d, accepted %t, %d attempts by %d, asked %t, %d errors, progress %d",
		s.status(), s.end, s.request, s.accepted, s.attempts, s.delivery, s.asked, s.errors, s.progress)
}
