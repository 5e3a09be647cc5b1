package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

var limitCases = []Case{
	{"a record as large as the store says it holds comes back", holdsLarge},
	{"a record that is too large is Oversize and changes nothing", refusesOversize},
	{"a request that has ended is Unavailable and leaves nothing half-done", honoursContext},
}

// payload returns the JSON of an array with one string, n bytes in all.
func payload(n int) string { return `["` + strings.Repeat("x", max(n-4, 0)) + `"]` }

func holdsLarge(ctx context.Context, s Subject) error {
	n := s.PayloadBytes
	if n == 0 {
		n = 256 << 10
	}
	r := small()
	r.Kwargs = `{}`
	r.Metadata = map[string]string{}
	for i := range 50 { // the most that a request may bring
		r.Metadata[fmt.Sprintf("key%037d", i)] = strings.Repeat("v", 500)
	}
	r.Args = payload(n - len(r.Kwargs) - 50*(40+500))
	if err := comesBack(ctx, s, r); err != nil {
		return err
	}
	return s.eventually(ctx, func() error {
		got, err := walk(ctx, s.Store, task.Query{Owner: r.Owner, Limit: 10})
		if err != nil {
			return err
		}
		if len(got) != 1 {
			return fmt.Errorf("the listing shows %d records, want 1", len(got))
		}
		return same(got[0], r)
	})
}

func refusesOversize(ctx context.Context, s Subject) error {
	if s.OversizeBytes == 0 {
		return nil
	}
	r := small()
	r.Args = payload(s.OversizeBytes)
	_, err := s.Store.Create(ctx, r)
	if err := kind("Create of a too large record", task.Oversize, err, nil); err != nil {
		return err
	}
	if err := absent(ctx, s.Store, r.ID); err != nil {
		return err
	}
	fits := small()
	if err := create(ctx, s.Store, fits); err != nil {
		return err
	}
	grown := *fits
	grown.ReturnValue = payload(s.OversizeBytes)
	if err := kind("Replace by a too large record", task.Oversize, s.Store.Replace(ctx, &grown), nil); err != nil {
		return err
	}
	if err := stored(ctx, s.Store, fits); err != nil {
		return err
	}
	fits.Status = task.Failed // the service now stores that it was too large
	if err := s.Store.Replace(ctx, fits); err != nil {
		return fmt.Errorf("Replace after an Oversize one: %w", err)
	}
	return nil
}

// honoursContext makes each call with a request that was cancelled, and one
// whose deadline has passed. An error leaves open whether a write was applied;
// but if it was, then as a whole.
func honoursContext(ctx context.Context, s Subject) error {
	there := full()
	if err := create(ctx, s.Store, there); err != nil {
		return err
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	late, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
	defer cancel()
	for _, ended := range []context.Context{cancelled, late} {
		fresh := full()
		_, err := s.Store.Create(ended, fresh)
		if err := kind("Create", task.Unavailable, err, nil); err != nil {
			return err
		}
		if got, err := s.Store.Get(ctx, fresh.ID); task.KindOf(err) != task.NotStored {
			if err = errors.Join(err, wholly(got, fresh)); err != nil {
				return fmt.Errorf("after a Create that ended early: %w", err)
			}
		}
		got, err := s.Store.Get(ended, there.ID)
		if err := kind("Get", task.Unavailable, err, got); err != nil {
			return err
		}
		page, err := s.Store.List(ended, task.Query{Owner: there.Owner, Limit: 1})
		if err := kind("List", task.Unavailable, err, page); err != nil {
			return err
		}
		next := full()
		next.ID, next.Revision = there.ID, there.Revision
		if err := kind("Replace", task.Unavailable, s.Store.Replace(ended, next), nil); err != nil {
			return err
		}
		got, err = s.Store.Get(ctx, there.ID)
		if err != nil || wholly(got, there) != nil && wholly(got, next) != nil {
			return fmt.Errorf("after a Replace that ended early: %v, %w", err, wholly(got, there))
		}
		if wholly(got, there) != nil {
			next.Revision = got.Revision
			there = next
		}
	}
	return nil
}

func wholly(got, want *task.Record) error {
	if got == nil {
		return errors.New("there is no record")
	}
	return same(got, want)
}
