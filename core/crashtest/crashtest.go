// Package crashtest kills a running taskgate while it enqueues, at every step,
// and holds what is left to the promises: what was acknowledged is there and is
// run once; a request that is repeated with its key goes on where it stopped, as
// one record; and what was not acknowledged is either absent or a record.
//
// One kill stops many requests, each at its own step. They share nothing.
package crashtest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// Left is what a crash at a step leaves of a request that nobody repeats.
type Left int

// What may be left.
const (
	Nothing Left = iota // no record, so no message
	Record              // a record, READY for ever: nobody will send its message
	Message             // both: the task runs, though nobody was told of it
)

// Step is a place at which the service can be stopped.
type Step struct {
	Name string
	// Hold makes the service stop here in the request with these arguments.
	// It is called before that request is made.
	Hold func(backend, args string)
	Left Left
	// Complete: with a key nothing was left to do but to answer.
	Complete bool
	// KeyedOnly: a request without a key does not come by.
	KeyedOnly bool
}

// Service is a running taskgate with the demo's worker, which does not work yet.
type Service struct {
	Client  Client
	Owner   string            // who the client is
	Targets map[string]string // what a request to each has beside task_name and args: members of an object
	Steps   []Step

	AwaitHeld func(n int) // waits until the service stands still at n steps
	Crash     func()      // kills it, lets go what was held, and starts it again
	Work      func()      // lets the worker work

	// MaxInFlight is the most that a repeated request may have to wait: what a
	// front door gives a request, and task's margin.
	MaxInFlight time.Duration
}

// cell is one request of the matrix.
type cell struct {
	target string
	step   *Step // nil: it was acknowledged before the crash
	key    string
	args   string // tells its messages and its record apart

	id       string // once it has been acknowledged
	replayed bool
}

func (c *cell) String() string {
	step, key := "acknowledged", "with a key"
	if c.step != nil {
		step = c.step.Name
	}
	if c.key == "" {
		key = "without a key"
	}
	return strings.Join([]string{c.target, step, key}, ", ")
}

// left is what there must be of it at the end.
func (c *cell) left() Left {
	if c.step == nil || c.key != "" {
		return Message
	}
	return c.step.Left
}

// Run kills the service once, with a request of every target at every step.
func Run(t *testing.T, s Service) {
	n := 0
	cells := func(step *Step) (made []*cell) {
		for target := range s.Targets {
			for _, keyed := range []bool{true, false} {
				if !keyed && step != nil && step.KeyedOnly {
					continue
				}
				n++
				c := &cell{target: target, step: step, args: fmt.Sprintf("cell-%d.", n)}
				if keyed {
					c.key = "key-of-" + c.args
				}
				made = append(made, c)
			}
		}
		return made
	}
	before := cells(nil)
	side(t, before, func(c *cell) error { return s.accepted(t.Context(), c) })

	requests, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	answers := make(chan string, 1000)
	var running sync.WaitGroup
	var stopped []*cell
	start := time.Now()
	for i := range s.Steps {
		step := &s.Steps[i]
		for _, c := range cells(step) {
			stopped = append(stopped, c)
			step.Hold(c.target, c.args)
			running.Go(func() {
				if a, err := s.Client.enqueue(requests, s.Targets[c.target], c); err == nil && a.status < 500 {
					answers <- fmt.Sprintf("%s: %d %s", c, a.status, a.body)
				}
			})
		}
		s.AwaitHeld(len(stopped))
	}
	took := time.Since(start) // within it no call may time out, or its request goes on
	s.Crash()
	hangUp()
	running.Wait()
	close(answers)
	for a := range answers {
		t.Errorf("it was to stand still, and answered: %s", a)
	}
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
	all := slices.Concat(before, stopped)
	s.records(t, all, func(c *cell, d *task.Document) error {
		if d.Attempts > 0 || d.Status != task.Ready {
			return fmt.Errorf("%s after %d attempts before anybody works", d.Status, d.Attempts)
		}
		return nil
	})
	s.Work()
	side(t, all, func(c *cell) error {
		if c.left() != Message {
			return nil
		}
		return s.runs(t.Context(), c)
	})
	s.records(t, all, func(c *cell, d *task.Document) error {
		switch c.left() {
		case Record:
			if d.State != task.StateQueued && d.State != task.StateScheduled || d.Attempts != 0 {
				return fmt.Errorf("%s after %d attempts, though it has no message", d.State, d.Attempts)
			}
		case Message:
			if d.State != task.StateSucceeded || d.Attempts != 1 || !strings.Contains(string(d.ReturnValue), c.args) {
				return fmt.Errorf("%s after %d attempts with %s, want one run", d.State, d.Attempts, d.ReturnValue)
			}
		}
		return nil
	})
}

// side does f for the cells side by side, and reports by cell.
func side(t *testing.T, cells []*cell, f func(*cell) error) {
	t.Helper()
	var all sync.WaitGroup
	for _, c := range cells {
		all.Go(func() {
			if err := f(c); err != nil {
				t.Errorf("%s: %v", c, err)
			}
		})
	}
	all.Wait()
}

// records compares what is stored with what must be, and hands each record to check.
func (s *Service) records(t *testing.T, cells []*cell, check func(*cell, *task.Document) error) {
	t.Helper()
	docs, err := s.Client.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cells {
		var mine []*task.Document
		for i := range docs {
			if strings.Contains(string(docs[i].Args), c.args) {
				mine = append(mine, &docs[i])
			}
		}
		want := 1
		if c.left() == Nothing {
			want = 0
		}
		if len(mine) != want {
			t.Errorf("%s: %d records, want %d", c, len(mine), want)
			continue
		}
		if want == 0 {
			continue
		}
		if c.id == "" {
			c.id = mine[0].ID // it was never acknowledged
		}
		if mine[0].ID != c.id {
			t.Errorf("%s: the record is %s, and the answer was %s", c, mine[0].ID, c.id)
		}
		if err := check(c, mine[0]); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
	if len(docs) > len(cells) {
		t.Errorf("%d records of %d requests", len(docs), len(cells))
	}
}

// accepted makes a request that must be accepted at once.
func (s *Service) accepted(ctx context.Context, c *cell) error {
	a, err := s.Client.enqueue(ctx, s.Targets[c.target], c)
	if err != nil || a.status != http.StatusAccepted {
		return fmt.Errorf("%d %s, %v", a.status, a.body, err)
	}
	return s.took(c, a)
}
