package storetest

import (
	"context"
	"fmt"

	"github.com/taskgate/taskgate/core/task"
)

var getCases = []Case{
	{"get of an id that was never stored is NotStored", neverStored},
	{"get sees every write that has returned", readsWrites},
}

func neverStored(ctx context.Context, s Subject) error {
	if err := create(ctx, s.Store, small()); err != nil { // of another id
		return err
	}
	return absent(ctx, s.Store, newID())
}

// readsWrites reads what this process wrote, at once, as another process does:
// a read that lags or comes from a cache shows an older record, or none.
func readsWrites(ctx context.Context, s Subject) error {
	for range 10 {
		r := small()
		if err := absent(ctx, s.another(), r.ID); err != nil {
			return err
		}
		if err := create(ctx, s.Store, r); err != nil {
			return err
		}
		for round := range 5 {
			for _, store := range []task.Store{s.another(), s.Store} {
				if err := stored(ctx, store, r); err != nil {
					return fmt.Errorf("after write %d: %w", round+1, err)
				}
			}
			r.WorkerIDs = append(r.WorkerIDs, fmt.Sprint(round))
			if err := s.Store.Replace(ctx, r); err != nil {
				return fmt.Errorf("Replace: %w", err)
			}
		}
	}
	return nil
}

var replaceCases = []Case{
	{"replace stores the record and sets its new revision", replaces},
	{"replace at a stale revision conflicts and changes nothing", staleConflicts},
	{"replace of a record that is not there conflicts and creates nothing", missingConflicts},
	{"of 32 concurrent replaces one wins each round", oneReplaceWins},
	{"every write makes a revision that was never there before", revisionsAreFresh},
}

func replaces(ctx context.Context, s Subject) error {
	r := small()
	if err := create(ctx, s.Store, r); err != nil {
		return err
	}
	next := full()
	next.ID, next.Revision = r.ID, r.Revision
	if err := s.Store.Replace(ctx, next); err != nil {
		return fmt.Errorf("Replace: %w", err)
	}
	if next.Revision == r.Revision {
		return fmt.Errorf("Replace has left the revision at %q", r.Revision)
	}
	return stored(ctx, s.Store, next)
}

func staleConflicts(ctx context.Context, s Subject) error {
	r := small()
	if err := create(ctx, s.Store, r); err != nil {
		return err
	}
	stale := *r
	r.TaskName = "second"
	if err := s.Store.Replace(ctx, r); err != nil {
		return fmt.Errorf("Replace: %w", err)
	}
	stale.TaskName = "third"
	if err := kind("Replace at a stale revision", task.Conflict, s.Store.Replace(ctx, &stale), nil); err != nil {
		return err
	}
	return stored(ctx, s.Store, r)
}

func missingConflicts(ctx context.Context, s Subject) error {
	other := small()
	if err := create(ctx, s.Store, other); err != nil {
		return err
	}
	// A revision that exists, of another record, and none at all.
	for _, revision := range []string{other.Revision, ""} {
		r := small()
		r.Revision = revision
		if err := kind("Replace of a missing record", task.Conflict, s.Store.Replace(ctx, r), nil); err != nil {
			return err
		}
		if err := absent(ctx, s.Store, r.ID); err != nil {
			return err
		}
	}
	return nil
}

func oneReplaceWins(ctx context.Context, s Subject) error {
	current := small()
	if err := create(ctx, s.Store, current); err != nil {
		return err
	}
	for round := range 5 {
		var mine [rivals]task.Record
		var failed [rivals]error
		atOnce(rivals, func(i int) {
			store := s.Store
			if i%2 == 1 {
				store = s.another()
			}
			mine[i] = *current
			mine[i].DeliveryID = fmt.Sprint(round, "-", i)
			failed[i] = store.Replace(ctx, &mine[i])
		})
		winners := 0
		for i, err := range failed {
			switch task.KindOf(err) {
			case "":
				winners++
				current = &mine[i]
			case task.Conflict:
			default:
				return fmt.Errorf("Replace: %w", err)
			}
		}
		if winners != 1 {
			return fmt.Errorf("round %d: %d of %d concurrent replaces say that they replaced", round+1, winners, rivals)
		}
		if err := stored(ctx, s.Store, current); err != nil {
			return fmt.Errorf("after the winner: %w", err)
		}
	}
	return nil
}

// revisionsAreFresh writes the same contents again and again: a revision made
// of the contents would let an old writer overwrite.
func revisionsAreFresh(ctx context.Context, s Subject) error {
	r := small()
	if err := create(ctx, s.Store, r); err != nil {
		return err
	}
	stale := *r
	seen := map[string]bool{r.Revision: true}
	for i := range 6 {
		r.CancelRequested = i%3 == 1
		if err := s.Store.Replace(ctx, r); err != nil {
			return fmt.Errorf("Replace: %w", err)
		}
		if seen[r.Revision] {
			return fmt.Errorf("write %d makes revision %q again", i+2, r.Revision)
		}
		seen[r.Revision] = true
	}
	return kind("Replace at the first revision", task.Conflict, s.Store.Replace(ctx, &stale), nil)
}
