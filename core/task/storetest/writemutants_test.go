package storetest_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/storetest"
)

func TestMutantsOfWritesAreCaught(t *testing.T) {
	for _, m := range []mutant{
		{"create overwrites what is there", func(good task.Store) task.Store {
			return &broken{Store: good, create: func(ctx context.Context, r *task.Record) (*task.Record, error) {
				return nil, overwrite(ctx, good, r)
			}}
		}, []string{createsOnce, createsOnceV7, foundReplaceable, oneCreateWins, returnedIsOwn}},

		{"create takes every id of version 7 for new", func(good task.Store) task.Store {
			return &broken{Store: good, create: func(ctx context.Context, r *task.Record) (*task.Record, error) {
				if uuid.MustParse(r.ID).Version() == 7 {
					return nil, overwrite(ctx, good, r)
				}
				return good.Create(ctx, r)
			}}
		}, []string{createsOnceV7}},

		{"create looks first, then writes", func(good task.Store) task.Store {
			return &broken{Store: good, create: func(ctx context.Context, r *task.Record) (*task.Record, error) {
				there, err := good.Get(ctx, r.ID)
				if task.KindOf(err) != task.NotStored {
					return there, err
				}
				if err := fits(r); err != nil {
					return nil, err
				}
				<-time.After(time.Millisecond) // the way to the store and back
				return nil, overwrite(ctx, good, r)
			}}
		}, []string{oneCreateWins}},

		{"create returns its own record as what is there", func(good task.Store) task.Store {
			return &broken{Store: good, create: func(ctx context.Context, r *task.Record) (*task.Record, error) {
				existing, err := good.Create(ctx, r)
				if existing != nil {
					own := *r
					own.Revision = existing.Revision
					existing = &own
				}
				return existing, err
			}}
		}, []string{createsOnce, oneCreateWins, returnedIsOwn}},

		{"create finds without the revision", func(good task.Store) task.Store {
			return &broken{Store: good, create: func(ctx context.Context, r *task.Record) (*task.Record, error) {
				existing, err := good.Create(ctx, r)
				if existing != nil {
					existing.Revision = ""
				}
				return existing, err
			}}
		}, []string{foundReplaceable}},

		{"create sets no revision", func(good task.Store) task.Store {
			return &broken{Store: good, create: func(ctx context.Context, r *task.Record) (*task.Record, error) {
				own := *r
				return good.Create(ctx, &own)
			}}
		}, []string{createsNew, readsWrites, replaces, oneReplaceWins, freshRevisions, staleConflicts,
			keepsFields, keepsBare, keepsNumbers, keepsText, keepsMicroseconds, passedInNotKept, holdsLarge, refusesOversize,
			walksSurviveWrites, listsLatest, replacedMoves, filtersFollow}},

		{"replace looks at no revision", func(good task.Store) task.Store {
			return &broken{Store: good, replace: func(ctx context.Context, r *task.Record) error {
				for {
					there, err := good.Get(ctx, r.ID)
					if task.KindOf(err) == task.NotStored {
						return task.Errorf(task.Conflict, "missing")
					}
					if err != nil {
						return err
					}
					r.Revision = there.Revision
					if err := good.Replace(ctx, r); task.KindOf(err) != task.Conflict {
						return err
					}
				}
			}}
		}, []string{staleConflicts, oneReplaceWins, freshRevisions}},

		{"replace compares first, then writes", func(good task.Store) task.Store {
			return &broken{Store: good, replace: func(ctx context.Context, r *task.Record) error {
				there, err := good.Get(ctx, r.ID)
				if task.KindOf(err) == task.NotStored || err == nil && there.Revision != r.Revision {
					return task.Errorf(task.Conflict, "another revision")
				}
				if err != nil {
					return err
				}
				if err := fits(r); err != nil {
					return err
				}
				<-time.After(time.Millisecond)
				return overwrite(ctx, good, r)
			}}
		}, []string{oneReplaceWins}},

		{"replace creates what is not there", func(good task.Store) task.Store {
			return &broken{Store: good, replace: func(ctx context.Context, r *task.Record) error {
				if _, err := good.Get(ctx, r.ID); task.KindOf(err) == task.NotStored {
					_, err := good.Create(ctx, r)
					return err
				}
				return good.Replace(ctx, r)
			}}
		}, []string{missingConflicts}},

		{"a conflict is Unavailable", func(good task.Store) task.Store {
			return &broken{Store: good, replace: func(ctx context.Context, r *task.Record) error {
				err := good.Replace(ctx, r)
				if task.KindOf(err) == task.Conflict {
					return task.Errorf(task.Unavailable, "conditional check failed")
				}
				return err
			}}
		}, []string{staleConflicts, missingConflicts, oneReplaceWins, freshRevisions}},

		{"a stale replace conflicts, and has written all the same", func(good task.Store) task.Store {
			return &broken{Store: good, replace: func(ctx context.Context, r *task.Record) error {
				err := good.Replace(ctx, r)
				if task.KindOf(err) != task.Conflict {
					return err
				}
				if _, missing := good.Get(ctx, r.ID); missing == nil {
					own := *r
					if err := overwrite(ctx, good, &own); err != nil {
						return err
					}
				}
				return err
			}}
		}, []string{staleConflicts, oneReplaceWins}},

		{"the revision is a hash of the contents", hashedRevisions, []string{freshRevisions}},

		{"replace sets no revision", func(good task.Store) task.Store {
			return &broken{Store: good, replace: func(ctx context.Context, r *task.Record) error {
				own := *r
				return good.Replace(ctx, &own)
			}}
		}, []string{replaces, readsWrites, staleConflicts, oneReplaceWins, freshRevisions, foundReplaceable, keepsFields,
			keepsBare, keepsNumbers, keepsText, keepsMicroseconds, holdsLarge, walksSurviveWrites, filtersFollow}},

		{"the record passed in is kept", func(good task.Store) task.Store {
			kept := map[string]map[string]string{}
			keep := func(r *task.Record) { kept[r.ID] = r.Metadata }
			b := reading(good, func(r *task.Record) {
				if r.Metadata != nil {
					r.Metadata = maps.Clone(kept[r.ID])
				}
			})
			create := b.create
			b.create = func(ctx context.Context, r *task.Record) (*task.Record, error) {
				existing, err := create(ctx, r)
				if existing == nil && err == nil {
					keep(r)
				}
				return existing, err
			}
			b.replace = func(ctx context.Context, r *task.Record) error {
				err := good.Replace(ctx, r)
				if err == nil {
					keep(r)
				}
				return err
			}
			return b
		}, []string{passedInNotKept}},
	} {
		t.Run(m.name, func(t *testing.T) {
			caughtBy(t, func() storetest.Subject { return subject(m.defect(newStore())) }, m.caught...)
		})
	}
}

// fits refuses what the real store would, before it is asked.
func fits(r *task.Record) error {
	if len(r.Args)+len(r.ReturnValue) >= oversizeBytes {
		return task.Errorf(task.Oversize, "too large")
	}
	return nil
}

// hashedRevisions is a store whose revisions are made of the contents.
func hashedRevisions(good task.Store) task.Store {
	hash := func(r *task.Record) string {
		own := *r
		own.Revision = ""
		text, _ := json.Marshal(own)
		return fmt.Sprintf("%x", sha256.Sum256(text))
	}
	b := reading(good, func(r *task.Record) { r.Revision = hash(r) })
	create := b.create
	b.create = func(ctx context.Context, r *task.Record) (*task.Record, error) {
		existing, err := create(ctx, r)
		if existing == nil && err == nil {
			r.Revision = hash(r)
		}
		return existing, err
	}
	var mu sync.Mutex
	b.replace = func(ctx context.Context, r *task.Record) error {
		mu.Lock()
		defer mu.Unlock()
		there, err := good.Get(ctx, r.ID)
		if task.KindOf(err) == task.NotStored || err == nil && hash(there) != r.Revision {
			return task.Errorf(task.Conflict, "another revision")
		}
		if err != nil {
			return err
		}
		r.Revision = there.Revision
		err = good.Replace(ctx, r)
		r.Revision = hash(r)
		return err
	}
	return b
}
