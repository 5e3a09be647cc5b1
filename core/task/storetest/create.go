package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/taskgate/taskgate/core/task"
)

var createCases = []Case{
	{"create stores a new record and sets its revision", createsNew},
	{"create of an id that is there changes nothing and returns what is there", createsOnce},
	{"create of an id of version 7 returns what is there, unless the id is fresh", createsOnceWhateverTheVersion},
	{"the record that create found can be replaced", foundIsReplaceable},
	{"of 32 concurrent creates one wins and the others return its record", oneCreateWins},
}

func createsNew(ctx context.Context, s Subject) error {
	r := small()
	if err := create(ctx, s.Store, r); err != nil {
		return err
	}
	if r.Revision == "" {
		return errors.New("Create has set no revision")
	}
	return stored(ctx, s.Store, r)
}

func createsOnce(ctx context.Context, s Subject) error {
	first := full()
	if err := create(ctx, s.Store, first); err != nil {
		return err
	}
	second := small()
	second.ID, second.TaskName = first.ID, "another"
	existing, err := s.Store.Create(ctx, second)
	if err != nil {
		return fmt.Errorf("Create of an id that is there: %w", err)
	}
	if existing == nil {
		return errors.New("Create of an id that is there says that it created")
	}
	if err := same(existing, first); err != nil {
		return fmt.Errorf("what Create found: %w", err)
	}
	return stored(ctx, s.Store, first)
}

// createsOnceWhateverTheVersion: a client may choose a UUID of version 7 as its
// task's id, and repeat it. The version does not say that an id is new.
func createsOnceWhateverTheVersion(ctx context.Context, s Subject) error {
	first, second := small(), small()
	first.ID = task.NewID()
	second.ID, first.Fresh = first.ID, true
	if err := create(ctx, s.Store, first); err != nil {
		return err
	}
	existing, err := s.Store.Create(ctx, second)
	if err != nil || existing == nil {
		return fmt.Errorf("Create of an id of version 7 that is there: %v, %v", existing, err)
	}
	return stored(ctx, s.Store, first)
}

func foundIsReplaceable(ctx context.Context, s Subject) error {
	first := small()
	if err := create(ctx, s.Store, first); err != nil {
		return err
	}
	second := small()
	second.ID = first.ID
	existing, err := s.Store.Create(ctx, second)
	if err != nil || existing == nil {
		return fmt.Errorf("Create of an id that is there: %v, %v", existing, err)
	}
	existing.CancelRequested = true
	if err := s.Store.Replace(ctx, existing); err != nil {
		return fmt.Errorf("Replace of what Create found: %w", err)
	}
	return stored(ctx, s.Store, existing)
}

// rivals is how many callers race in one case.
const rivals = 32

func oneCreateWins(ctx context.Context, s Subject) error {
	id := newID()
	var winners atomic.Int32
	var mine, found [rivals]*task.Record
	var failed [rivals]error
	atOnce(rivals, func(i int) {
		store := s.Store
		if i%2 == 1 {
			store = s.another()
		}
		mine[i] = small()
		mine[i].ID = id
		found[i], failed[i] = store.Create(ctx, mine[i])
		if found[i] == nil && failed[i] == nil {
			winners.Add(1)
		}
	})
	if err := errors.Join(failed[:]...); err != nil {
		return fmt.Errorf("Create: %w", err)
	}
	if n := winners.Load(); n != 1 {
		return fmt.Errorf("%d of %d concurrent creates say that they created", n, rivals)
	}
	for i := range rivals {
		if found[i] == nil {
			if err := stored(ctx, s.Store, mine[i]); err != nil {
				return fmt.Errorf("after the winner: %w", err)
			}
			for j := range rivals {
				if found[j] == nil {
					continue
				}
				if err := same(found[j], mine[i]); err != nil {
					return fmt.Errorf("what a loser found: %w", err)
				}
			}
		}
	}
	return nil
}
