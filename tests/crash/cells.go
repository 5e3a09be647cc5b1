package crash

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/taskgate/taskgate/core/task"
)

// cell is one request of the matrix.
type cell struct {
	target string
	step   *Step // nil: it was acknowledged before there were faults
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

// left is what a crash may leave of the request at the end.
func (c *cell) left() Left {
	if c.step == nil || c.key != "" {
		return Message
	}
	return c.step.Left
}

// cells are all requests of a matrix.
type cells []*cell

// add adds the requests of every target at a step, and returns them.
func (all *cells) add(s Service, step *Step) (made []*cell) {
	for target := range s.Targets {
		if step != nil && step.Only != nil && !slices.Contains(step.Only, target) {
			continue
		}
		for _, keyed := range []bool{true, false} {
			if !keyed && step != nil && step.KeyedOnly {
				continue
			}
			c := &cell{target: target, step: step, args: fmt.Sprintf("cell-%d.", len(*all))}
			if keyed {
				c.key = "key-of-" + c.args
			}
			*all, made = append(*all, c), append(made, c)
		}
	}
	return made
}

// side calls f for all cells concurrently, and reports errors by cell.
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

// settles starts the worker, and checks every record against the promises.
func (s *Service) settles(t *testing.T, all cells) {
	t.Helper()
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

// records compares the stored records with the expected ones, and passes each to check.
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
