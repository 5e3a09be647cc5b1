package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

var listCases = []Case{
	{"a listing is newest first, then greatest id", listsInOrder},
	{"pages of every size visit each record once", pagesVisitAll},
	{"a page is never larger than its limit", pagesKeepTheirLimit},
	{"a walk ends with no next position", walksEnd},
	{"writes during a walk neither skip nor repeat the older records", walksSurviveWrites},
	{"a listing shows whole records as they were last written", listsLatest},
	{"a record replaced with another enqueued_at moves in the listing", replacedMoves},
}

// walk returns what the pages of a query hold, one after the other. walk also stops
// when the next position does not change. Another case reports that defect.
func walk(ctx context.Context, store task.Store, q task.Query) (all []*task.Record, err error) {
	for range 10_000 {
		page, err := store.List(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("List: %w", err)
		}
		all = append(all, page.Records...)
		if page.Next == (task.Position{}) || page.Next == q.After {
			return all, nil
		}
		q.After = page.Next
	}
	return nil, errors.New("the walk does not end")
}

// inOrder checks that got is exactly want, in that order.
func inOrder(got, want []*task.Record) error {
	if a, b := names(got), names(want); !slices.Equal(a, b) {
		return fmt.Errorf("the listing is %v, want %v", a, b)
	}
	return nil
}

// names renders positions so that an error shows the order.
func names(rs []*task.Record) (out []string) {
	for _, r := range rs {
		out = append(out, r.EnqueuedAt.Format("05.000000")+"/"+r.ID[:min(8, len(r.ID))])
	}
	return out
}

// several stores n records of one owner, four of them at each instant, not in
// order, and returns them in the order of a listing, once a listing shows them.
func several(ctx context.Context, s Subject, n int) (owner string, want []*task.Record, err error) {
	owner = small().Owner
	base := now()
	for i := range n {
		r := small()
		r.Owner = owner
		r.EnqueuedAt = base.Plus(time.Duration(i*5%n/4) * time.Second)
		if err := create(ctx, s.Store, r); err != nil {
			return "", nil, err
		}
		want = append(want, r)
	}
	slices.SortFunc(want, newestFirst)
	err = s.eventually(ctx, func() error {
		got, err := walk(ctx, s.Store, task.Query{Owner: owner, Limit: 100})
		if err == nil && len(got) != n {
			err = fmt.Errorf("the listing shows %d records, want %d", len(got), n)
		}
		return err
	})
	return owner, want, err
}

func newestFirst(a, b *task.Record) int {
	return cmp.Or(b.EnqueuedAt.Compare(a.EnqueuedAt.Time), cmp.Compare(b.ID, a.ID))
}

func listsInOrder(ctx context.Context, s Subject) error {
	owner, want, err := several(ctx, s, 12)
	if err != nil {
		return err
	}
	got, err := walk(ctx, s.Store, task.Query{Owner: owner, Limit: 100})
	if err != nil {
		return err
	}
	return inOrder(got, want)
}

// pagesVisitAll leaves the order to listsInOrder.
func pagesVisitAll(ctx context.Context, s Subject) error {
	const n = 13
	owner, _, err := several(ctx, s, n)
	if err != nil {
		return err
	}
	for limit := 1; limit <= n+1; limit++ {
		got, err := walk(ctx, s.Store, task.Query{Owner: owner, Limit: limit})
		if err != nil {
			return err
		}
		visited := map[string]int{}
		for _, r := range got {
			visited[r.ID]++
		}
		if len(visited) != n || len(got) != n {
			return fmt.Errorf("pages of %d visit %d of %d records, %d times in all", limit, len(visited), n, len(got))
		}
	}
	return nil
}

func pagesKeepTheirLimit(ctx context.Context, s Subject) error {
	owner, _, err := several(ctx, s, 6)
	if err != nil {
		return err
	}
	for limit := 1; limit <= 5; limit++ {
		page, err := s.Store.List(ctx, task.Query{Owner: owner, Limit: limit})
		if err != nil {
			return fmt.Errorf("List: %w", err)
		}
		if len(page.Records) > limit {
			return fmt.Errorf("a page of %d holds %d records", limit, len(page.Records))
		}
	}
	return nil
}

func walksEnd(ctx context.Context, s Subject) error {
	owner, _, err := several(ctx, s, 4)
	if err != nil {
		return err
	}
	for _, q := range []task.Query{{Owner: owner, Limit: 2}, {Owner: owner, Limit: 100}, {Owner: newID(), Limit: 1}} {
		var page task.Page
		for range 1000 { // pages may be short, even empty
			if page, err = s.Store.List(ctx, q); err != nil {
				return fmt.Errorf("List: %w", err)
			}
			if page.Next == (task.Position{}) {
				break
			}
			q.After = page.Next
		}
		if page.Next != (task.Position{}) {
			return fmt.Errorf("after 1000 pages of %d there is still a next position", q.Limit)
		}
	}
	return nil
}

func walksSurviveWrites(ctx context.Context, s Subject) error {
	owner, want, err := several(ctx, s, 8)
	if err != nil {
		return err
	}
	visited := map[string]int{}
	q := task.Query{Owner: owner, Limit: 2}
	for range 1000 {
		page, err := s.Store.List(ctx, q)
		if err != nil {
			return fmt.Errorf("List: %w", err)
		}
		for _, r := range page.Records {
			visited[r.ID]++
		}
		if page.Next == (task.Position{}) || page.Next == q.After {
			break
		}
		q.After = page.Next
		newer, older := small(), small() // one before all, one after all
		newer.Owner, newer.EnqueuedAt = owner, want[0].EnqueuedAt.Plus(time.Hour)
		older.Owner, older.EnqueuedAt = owner, want[len(want)-1].EnqueuedAt.Plus(-time.Hour)
		for _, r := range []*task.Record{newer, older} {
			if len(visited) == len(want) {
				break // enough: the walk would meet its own inserts for ever
			}
			if err := create(ctx, s.Store, r); err != nil {
				return err
			}
		}
		changed := want[len(visited)%len(want)]
		changed.CancelRequested = !changed.CancelRequested
		if err := s.Store.Replace(ctx, changed); err != nil {
			return fmt.Errorf("Replace: %w", err)
		}
	}
	for _, r := range want {
		if visited[r.ID] != 1 {
			return fmt.Errorf("a record that was there before the walk was visited %d times", visited[r.ID])
		}
	}
	return nil
}

func listsLatest(ctx context.Context, s Subject) error {
	r := small()
	if err := create(ctx, s.Store, r); err != nil {
		return err
	}
	latest := full()
	latest.ID, latest.Owner, latest.EnqueuedAt, latest.Revision = r.ID, r.Owner, r.EnqueuedAt, r.Revision
	if err := s.Store.Replace(ctx, latest); err != nil {
		return fmt.Errorf("Replace: %w", err)
	}
	return s.eventually(ctx, func() error {
		got, err := walk(ctx, s.Store, task.Query{Owner: r.Owner, Limit: 10})
		if err != nil {
			return err
		}
		if len(got) != 1 {
			return fmt.Errorf("the listing shows %d records, want 1", len(got))
		}
		return same(got[0], latest)
	})
}

// replacedMoves: a keyed request takes over the id of a record past its life.
// It looks for the record where it was; the order is listsInOrder's.
func replacedMoves(ctx context.Context, s Subject) error {
	owner, was, err := several(ctx, s, 8)
	if err != nil {
		return err
	}
	newest, moved := was[0], was[len(was)-1]
	moved.EnqueuedAt = newest.EnqueuedAt.Plus(time.Second)
	if err := s.Store.Replace(ctx, moved); err != nil {
		return fmt.Errorf("Replace: %w", err)
	}
	return s.eventually(ctx, func() error {
		older, err := walk(ctx, s.Store, task.Query{Owner: owner, Limit: 100, After: newest.Position()})
		if err != nil {
			return err
		}
		if slices.ContainsFunc(older, func(r *task.Record) bool { return r.ID == moved.ID }) {
			return errors.New("the record is still listed among the older ones")
		}
		return nil
	})
}
