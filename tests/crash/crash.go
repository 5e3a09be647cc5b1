// Package crash kills a running taskgate at every step of an enqueue, or breaks
// the services that taskgate calls. Then it checks the promises: an acknowledged
// task exists and runs once; a request that is repeated with its key continues
// where it stopped, as one record; a request that was not acknowledged has left
// nothing, a record that waits for ever, or a task that runs.
//
// Many requests are tested concurrently, each with a fault of its own. They share
// only the service.
package crash

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Left is what a crash at a step leaves of a request that nobody repeats.
type Left int

// What may be left.
const (
	Nothing Left = iota // no record, so no message
	Record              // a record, READY for ever: nobody will send its message
	Message             // both: the task runs, though nobody was told of it
)

// Step is a point in a request at which the fault happens.
type Step struct {
	Name string
	// Hold makes the service stop or fail at this step of the request with these
	// arguments. It is called before the request is made.
	Hold func(target, args string)
	Only []string // the targets that this is for; nil = all

	// What [Kill] leaves.
	Left      Left // of a request without a key
	Complete  bool // with a key nothing was left to do but to answer
	KeyedOnly bool // a request without a key does not come by
}

// Service is a running taskgate with the demo worker. The worker does not run tasks yet.
type Service struct {
	Client  Client
	Owner   string            // who the client is
	Targets map[string]string // what a request to each has beside task_name and args: members of an object
	Steps   []Step

	AwaitHeld func(n int) // waits until the service stands still in n requests
	Restore   func()      // ends all faults; after [Kill]'s it has killed the service, and starts it again
	Work      func()      // lets the worker work

	// MaxInFlight is the longest that a repeated request may have to wait: the
	// front door's deadline for a request, and the margin of core/task.
	MaxInFlight time.Duration
}

// Kill kills the service once, with a request of every target at every step.
func Kill(t *testing.T, s Service) {
	var all cells
	before := all.add(s, nil)
	side(t, before, func(c *cell) error { return s.accepted(t.Context(), c) })

	requests, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	var running sync.WaitGroup
	var stopped []*cell
	start := time.Now()
	for i := range s.Steps {
		for _, c := range all.add(s, &s.Steps[i]) {
			stopped = append(stopped, c)
			c.step.Hold(c.target, c.args)
			running.Go(func() {
				// The front door in front of a dead service answers as it likes.
				a, err := s.Client.enqueue(requests, s.Targets[c.target], c)
				if err == nil && a.status != http.StatusInternalServerError && a.status != http.StatusBadGateway {
					t.Errorf("%s: it was to stand still, and answered %d %s", c, a.status, a.body)
				}
			})
		}
		s.AwaitHeld(len(stopped))
	}
	took := time.Since(start) // within it no call may time out, or its request goes on
	s.Restore()
	hangUp()
	running.Wait()
	t.Logf("%d requests stopped within %v", len(stopped), took.Round(time.Millisecond))

	side(t, stopped, func(c *cell) error {
		if c.key == "" {
			return nil
		}
		if err := s.repeated(t.Context(), c); err != nil {
			return err
		}
		if c.replayed != c.step.Complete {
			return fmt.Errorf("repeated: replayed is %v, want %v", c.replayed, c.step.Complete)
		}
		return nil
	})
	s.settles(t, all)
}

// Faults breaks the services that taskgate calls: for every target and every step,
// one request with a key. Each request must be answered within the front door's
// deadline. It is repeated when the faults are over.
func Faults(t *testing.T, s Service, within time.Duration) {
	var all cells
	for i := range s.Steps {
		s.Steps[i].KeyedOnly = true
		for _, c := range all.add(s, &s.Steps[i]) {
			c.step.Hold(c.target, c.args)
		}
	}
	side(t, all, func(c *cell) error {
		start := time.Now()
		a, err := s.Client.enqueue(t.Context(), s.Targets[c.target], c)
		if took := time.Since(start); took > within {
			t.Errorf("%s: answered after %v", c, took)
		}
		if err != nil || a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), `"code":"unavailable"`) {
			return fmt.Errorf("%d %s, %v, want unavailable", a.status, a.body, err)
		}
		return nil
	})
	s.Restore()
	side(t, all, func(c *cell) error { return s.repeated(t.Context(), c) })
	s.settles(t, all)
}
