package storetest

import (
	"context"
	"fmt"

	"github.com/taskgate/taskgate/core/task"
)

var ownershipCases = []Case{
	{"a record passed in is not kept", passedInIsNotKept},
	{"a record returned is the caller's own", returnedIsOwn},
}

// scribble changes everything that can be reached through r's references.
func scribble(r *task.Record) {
	for i := range r.Errors {
		r.Errors[i].Traceback = "scribbled"
	}
	for i := range r.WorkerIDs {
		r.WorkerIDs[i] = "scribbled"
	}
	for i := range r.AttemptEnds {
		r.AttemptEnds[i] = "scribbled"
	}
	if r.Metadata != nil {
		r.Metadata["scribbled"] = "scribbled"
	}
	if r.Progress != nil {
		r.Progress.Message = "scribbled"
	}
	if r.Refusal != nil {
		r.Refusal.Msg = "scribbled"
	}
	if r.Keyed != nil {
		r.Keyed.Fingerprint = "scribbled"
	}
	r.TaskName = "scribbled"
}

func passedInIsNotKept(ctx context.Context, s Subject) error {
	r := full()
	if err := create(ctx, s.Store, r); err != nil {
		return err
	}
	// What was stored is the yardstick, read before the scribbling.
	want, err := s.Store.Get(ctx, r.ID)
	if err != nil {
		return fmt.Errorf("Get: %w", err)
	}
	scribble(r)
	if err := stored(ctx, s.Store, want); err != nil {
		return fmt.Errorf("a record changed after its Create: %w", err)
	}
	again := full()
	again.ID, again.Revision = r.ID, r.Revision
	if err := s.Store.Replace(ctx, again); err != nil {
		return fmt.Errorf("Replace: %w", err)
	}
	if want, err = s.Store.Get(ctx, r.ID); err != nil {
		return fmt.Errorf("Get: %w", err)
	}
	scribble(again)
	if err := stored(ctx, s.Store, want); err != nil {
		return fmt.Errorf("a record changed after its Replace: %w", err)
	}
	return nil
}

func returnedIsOwn(ctx context.Context, s Subject) error {
	r := full()
	if err := create(ctx, s.Store, r); err != nil {
		return err
	}
	returned := map[string]func() (*task.Record, error){
		"Get": func() (*task.Record, error) { return s.Store.Get(ctx, r.ID) },
		"Create": func() (*task.Record, error) {
			second := small()
			second.ID = r.ID
			return s.Store.Create(ctx, second)
		},
		"List": func() (found *task.Record, err error) {
			err = s.eventually(ctx, func() error {
				page, err := walk(ctx, s.Store, task.Query{Owner: r.Owner, Limit: 10})
				if err == nil && len(page) != 1 {
					err = fmt.Errorf("List shows %d records, want 1", len(page))
				}
				if err == nil {
					found = page[0]
				}
				return err
			})
			return found, err
		},
	}
	for name, read := range returned {
		for range 2 { // the second reading shows what the first one's scribbling did
			got, err := read()
			if err != nil || got == nil {
				return fmt.Errorf("%s: %v, %v", name, got, err)
			}
			if err := same(got, r); err != nil {
				return fmt.Errorf("after a record returned by %s was changed: %w", name, err)
			}
			scribble(got)
		}
		if err := stored(ctx, s.Store, r); err != nil {
			return fmt.Errorf("after a record returned by %s was changed: %w", name, err)
		}
	}
	return nil
}
