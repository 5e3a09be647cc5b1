package storetest_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/storetest"
	"github.com/taskgate/taskgate/core/task/tasktest"
)

// broken is a store with a defect: the calls that are set take the place of the
// real store's.
type broken struct {
	task.Store
	create  func(context.Context, *task.Record) (*task.Record, error)
	get     func(context.Context, string) (*task.Record, error)
	replace func(context.Context, *task.Record) error
	list    func(context.Context, task.Query) (task.Page, error)
}

func (b *broken) Create(ctx context.Context, r *task.Record) (*task.Record, error) {
	if b.create != nil {
		return b.create(ctx, r)
	}
	return b.Store.Create(ctx, r)
}

func (b *broken) Get(ctx context.Context, id string) (*task.Record, error) {
	if b.get != nil {
		return b.get(ctx, id)
	}
	return b.Store.Get(ctx, id)
}

func (b *broken) Replace(ctx context.Context, r *task.Record) error {
	if b.replace != nil {
		return b.replace(ctx, r)
	}
	return b.Store.Replace(ctx, r)
}

func (b *broken) List(ctx context.Context, q task.Query) (task.Page, error) {
	if b.list != nil {
		return b.list(ctx, q)
	}
	return b.Store.List(ctx, q)
}

// reading is a store that changes each record on its way to the reader.
func reading(good task.Store, change func(*task.Record)) *broken {
	return &broken{Store: good,
		create: func(ctx context.Context, r *task.Record) (*task.Record, error) {
			existing, err := good.Create(ctx, r)
			if existing != nil {
				change(existing)
			}
			return existing, err
		},
		get: func(ctx context.Context, id string) (*task.Record, error) {
			r, err := good.Get(ctx, id)
			if r != nil {
				change(r)
			}
			return r, err
		},
		list: func(ctx context.Context, q task.Query) (task.Page, error) {
			page, err := good.List(ctx, q)
			for _, r := range page.Records {
				change(r)
			}
			return page, err
		},
	}
}

// overwrite stores r whatever is there, by way of a compare-and-swap that is
// tried until it wins.
func overwrite(ctx context.Context, good task.Store, r *task.Record) error {
	for {
		existing, err := good.Create(ctx, r)
		if err != nil || existing == nil {
			return err
		}
		r.Revision = existing.Revision
		if err := good.Replace(ctx, r); task.KindOf(err) != task.Conflict {
			return err
		}
	}
}

const (
	payloadBytes  = 256 << 10
	oversizeBytes = 300 << 10
)

func newStore() *tasktest.Store { return &tasktest.Store{MaxBytes: payloadBytes} }

func subject(store task.Store) storetest.Subject {
	return storetest.Subject{Store: store, PayloadBytes: payloadBytes, OversizeBytes: oversizeBytes}
}

// failing returns the names of the cases that fail on the subjects that open
// makes. It runs them in a bubble, where waiting takes no time and every
// goroutine that can run does before time passes.
func failing(t *testing.T, open func() storetest.Subject) (names []string) {
	t.Helper()
	for _, c := range storetest.Cases() {
		synctest.Test(t, func(t *testing.T) {
			if err := c.Check(t.Context(), open()); err != nil {
				t.Logf("%s: %v", c.Name, err)
				names = append(names, c.Name)
			}
		})
	}
	return names
}

// caughtBy checks that exactly the named cases fail.
func caughtBy(t *testing.T, open func() storetest.Subject, want ...string) {
	t.Helper()
	got := failing(t, open)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("caught by:\n\t%q\nwant:\n\t%q", got, want)
	}
}
