// Package faults puts one call of an adapter through every fault of the network and of the service.
// Under each fault the call must return in bounded time with the right error. After the fault the call
// must succeed again, and it must leave no goroutine and no connection behind.
package faults

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/wait"
)

// Want is what a call may answer during a fault.
type Want int

// Refused is an error of kind Unavailable; Served is no error; Either is one of the two.
const (
	Refused Want = iota
	Served
	Either
)

// Fault is one fault. It lasts from Begin to End.
type Fault struct {
	Name   string
	Want   Want
	Silent bool // the peer does not answer: only the call's own deadline ends it
	Wait   bool // the answer says when to come back
	Begin  func()
	End    func(testing.TB)
}

// Names are the faults that every table must have.
var Names = []string{
	"latency", "reset before", "reset after", "half-open", "truncated", "throttled", "server error", "expired", "blackhole",
}

// Subject is one call of an adapter.
type Subject struct {
	// Call makes the call. It must not share its connections with anything else.
	Call   func(context.Context) error
	Faults []Fault
	TCP    *faultproxy.TCP // all connections go through it
	Says   string          // how what the client is told begins; it never has the SDK's words
	Long   bool            // left out of -short runs, for another call that goes the same way

	// Patience is the deadline of a call to a peer that answers; 0 = 4 s. Silence is the deadline of a
	// call to a peer that does not answer; 0 = 400 ms.
	Patience, Silence time.Duration
	// Bound is the longest that a call without a deadline may take; 0 = do not try one.
	Bound time.Duration
	// Close, if not nil, closes everything that the adapter keeps open.
	Close func()
}

// The deadlines of a call to a peer that answers and to one that does not, and what a busy machine may
// add before an answer counts as late or a fault as not over.
const (
	patience = 4 * time.Second
	silence  = 400 * time.Millisecond
	slack    = wait.Slack
	recovery = wait.Slack // a connection that is still silent may cost one more attempt
	leakTime = wait.Patience
)

// Run tests the subject, a subtest for each fault.
func Run(t *testing.T, s Subject) {
	t.Helper()
	if s.Long && testing.Short() {
		t.Skip("another call goes the same way")
	}
	given := map[string]bool{}
	for _, f := range s.Faults {
		given[f.Name] = true
	}
	for _, name := range Names {
		if !given[name] {
			t.Errorf("there is no fault %q", name)
		}
	}
	s.recovers(t)
	open := max(1, s.TCP.Open())
	for _, f := range s.Faults {
		t.Run(f.Name, func(t *testing.T) { s.through(t, f) })
		if f.Name == "blackhole" && s.Bound > 0 && !testing.Short() {
			t.Run("blackhole without a deadline", func(t *testing.T) { s.alone(t, f) })
		}
	}
	for range 5 { // the faults of connections have ended what was kept of earlier ones
		s.recovers(t)
	}
	s.leavesNothing(t, open)
}

// through makes a call during the fault, and then calls until a call succeeds.
func (s Subject) through(t *testing.T, f Fault) {
	f.Begin()
	limit := cmp.Or(s.Patience, patience)
	if f.Silent {
		limit = cmp.Or(s.Silence, silence)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	s.expect(t, ctx, f, limit)
	f.End(t)
	s.recovers(t)
}

// alone makes a call that only the adapter's own bound ends.
func (s Subject) alone(t *testing.T, f Fault) {
	f.Begin()
	s.expect(t, t.Context(), f, s.Bound)
	f.End(t)
	s.recovers(t)
}

func (s Subject) expect(t *testing.T, ctx context.Context, f Fault, limit time.Duration) {
	t.Helper()
	answer := make(chan error, 1)
	go func() { answer <- s.call(ctx, t.Name()) }()
	var err error
	select {
	case err = <-answer:
	case <-time.After(limit + slack):
		t.Errorf("there is no answer after %v", limit+slack)
		return
	}
	var e *task.Error
	switch {
	case err == nil && f.Want == Refused:
		t.Error("it was served")
	case err == nil:
	case f.Want == Served || !errors.As(err, &e) || e.Kind != task.Unavailable:
		t.Errorf("%v, want %v", err, map[Want]string{Refused: string(task.Unavailable), Served: "no error", Either: "none, or " + string(task.Unavailable)}[f.Want])
	case !strings.HasPrefix(e.Msg, s.Says) || len(e.Msg) > 90:
		t.Errorf("the client is told %q", e.Msg)
	case f.Wait && e.RetryAfter == 0:
		t.Error("no RetryAfter")
	}
}

// recovers calls until a call succeeds.
func (s Subject) recovers(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	for {
		err := s.call(ctx, t.Name())
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("not recovered after %v: %v", recovery, err)
		}
	}
}

// label marks the goroutines of the calls, and all that those start.
const label = "faults"

func (s Subject) call(ctx context.Context, name string) (err error) {
	pprof.Do(ctx, pprof.Labels(label, name), func(ctx context.Context) { err = s.Call(ctx) })
	return err
}

// leavesNothing waits until at most open connections and one more are left, and no goroutine of a call
// but the ones that serve those connections.
func (s Subject) leavesNothing(t *testing.T, open int) {
	t.Helper()
	if s.Close != nil {
		s.Close()
		open = -1
	}
	var left string
	for end := time.Now().Add(leakTime); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		left = goroutines(t.Name())
		if n := s.TCP.Open(); n > open+1 {
			left += fmt.Sprintf("%d connections, want %d", n, open)
		}
		if left == "" {
			return
		}
	}
	t.Errorf("left behind:\n%s", left)
}

// goroutines returns the stacks of the goroutines that calls of this test or of a subtest have started.
func goroutines(name string) (stacks string) {
	var all bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&all, 1)
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		_, labels, _ := strings.Cut(stack, fmt.Sprintf("%q:", label))
		labels = strings.TrimPrefix(labels, `"`)
		if strings.HasPrefix(labels, name+`"`) || strings.HasPrefix(labels, name+"/") {
			if !strings.Contains(stack, "net/http.(*persistConn)") {
				stacks += stack + "\n\n"
			}
		}
	}
	return stacks
}
