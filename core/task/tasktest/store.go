package tasktest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/taskgate/taskgate/core/task"
)

// Store is a [task.Store] in memory. The zero Store is empty and ready for use.
type Store struct {
	Faults

	// MaxBytes bounds the args, kwargs, metadata and return value of a record
	// together; 0 = no bound. Set it before the first call.
	MaxBytes int

	mu       sync.Mutex
	records  map[string]*task.Record
	revision int
}

var _ task.Store = (*Store)(nil)

// Create implements [task.Store].
func (s *Store) Create(ctx context.Context, r *task.Record) (existing *task.Record, err error) {
	err = s.call(ctx, Create, r.ID, func() error {
		existing, err = s.create(r, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	return existing, nil
}

// create stores r, if its id is free and then returns nil. then, if given,
// happens in the same commit.
func (s *Store) create(r *task.Record, then func() error) (existing *task.Record, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if there := s.records[r.ID]; there != nil {
		return Clone(there), nil
	}
	if err := s.fits(r); err != nil {
		return nil, err
	}
	if then != nil {
		if err := then(); err != nil {
			return nil, err
		}
	}
	s.put(r)
	return nil, nil
}

// Get implements [task.Store].
func (s *Store) Get(ctx context.Context, id string) (r *task.Record, err error) {
	err = s.call(ctx, Get, id, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		there := s.records[id]
		if there == nil {
			return task.Errorf(task.NotStored, "there is no record %s", id)
		}
		r = Clone(there)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Replace implements [task.Store].
func (s *Store) Replace(ctx context.Context, r *task.Record) error {
	return s.call(ctx, Replace, r.ID, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		there := s.records[r.ID]
		if there == nil || there.Revision != r.Revision {
			return task.Errorf(task.Conflict, "record %s is not at that revision", r.ID)
		}
		if err := s.fits(r); err != nil {
			return err
		}
		s.put(r)
		return nil
	})
}

// put stores a copy of r under a new revision, and tells r what it is.
func (s *Store) put(r *task.Record) {
	if s.records == nil {
		s.records = map[string]*task.Record{}
	}
	s.revision++
	stored := Clone(r)
	stored.Revision = strconv.Itoa(s.revision)
	s.records[r.ID] = stored
	r.Revision = stored.Revision
}

func (s *Store) fits(r *task.Record) error {
	n := len(r.Args) + len(r.Kwargs) + len(r.ReturnValue)
	for k, v := range r.Metadata {
		n += len(k) + len(v)
	}
	if s.MaxBytes > 0 && n > s.MaxBytes {
		return task.Errorf(task.Oversize, "the record's payload has %d bytes, and the store holds %d", n, s.MaxBytes)
	}
	return nil
}

// List implements [task.Store].
func (s *Store) List(ctx context.Context, q task.Query) (page task.Page, err error) {
	err = s.call(ctx, List, "", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		found := slices.SortedFunc(maps.Values(s.records), newestFirst)
		found = slices.DeleteFunc(found, func(r *task.Record) bool { return !matches(q, r) || !after(q.After, r) })
		if more := len(found) > q.Limit; more {
			found = found[:q.Limit]
			page.Next = found[q.Limit-1].Position()
		}
		for _, r := range found {
			page.Records = append(page.Records, Clone(r))
		}
		return nil
	})
	if err != nil {
		return task.Page{}, err
	}
	return page, nil
}

func newestFirst(a, b *task.Record) int {
	return cmp.Or(b.EnqueuedAt.Compare(a.EnqueuedAt.Time), cmp.Compare(b.ID, a.ID))
}

func matches(q task.Query, r *task.Record) bool {
	for _, pair := range [][2]string{
		{q.Owner, r.Owner}, {q.Status, r.Status}, {q.QueueName, r.QueueName},
		{q.Backend, r.Backend}, {q.TaskName, r.TaskName},
	} {
		if pair[0] != "" && pair[0] != pair[1] {
			return false
		}
	}
	return true
}

func after(p task.Position, r *task.Record) bool {
	return p == (task.Position{}) || newestFirst(&task.Record{EnqueuedAt: p.EnqueuedAt, ID: p.ID}, r) < 0
}

// Len returns how many records there are.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records)
}

// Delete removes a record behind the contract's back, as a store does when the
// record's life is over.
func (s *Store) Delete(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, id)
}

// Clone returns a copy of r that shares nothing with it.
func Clone(r *task.Record) *task.Record {
	c := *r
	c.Errors = slices.Clone(r.Errors)
	c.WorkerIDs = slices.Clone(r.WorkerIDs)
	c.AttemptEnds = slices.Clone(r.AttemptEnds)
	c.AttemptLog = slices.Clone(r.AttemptLog)
	c.Metadata = maps.Clone(r.Metadata)
	c.Unknown = maps.Clone(r.Unknown)
	c.Progress = pointer(r.Progress)
	c.Refusal = pointer(r.Refusal)
	c.Keyed = pointer(r.Keyed)
	return &c
}

func pointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
