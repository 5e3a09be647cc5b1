// Package storetest is the contract of [task.Store] as a suite. Each case
// returns an error, so that the suite is tested too: the mutants in this
// package's tests are stores with one defect each, and each is caught.
//
// The cases share a store gladly: they use ids, owners and queues of their own,
// and expect other records in an unfiltered listing.
package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// Subject is a store to be judged, and what it says of itself.
type Subject struct {
	Store task.Store

	// Another is the same records as another process sees them; nil = Store.
	Another task.Store

	// PayloadBytes is how much the args, kwargs, metadata and return value of a
	// record may have together, that the store must hold; 0 = 256 KiB, the
	// least that the service asks of a store.
	PayloadBytes int

	// OversizeBytes is a payload that the store must refuse as Oversize; 0 = it
	// has no bound, and none is looked for.
	OversizeBytes int

	// ListLag is how long a listing may take to show a write; 0 = none.
	ListLag time.Duration
}

// Case is one promise of the contract.
type Case struct {
	Name  string
	Check func(context.Context, Subject) error
}

// caseTime bounds one case, so that a store that hangs fails and does not stop
// the suite. It is far more than any case needs.
const caseTime = time.Minute

// Run checks each case as a subtest, on the subject that open returns for it.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), caseTime)
			defer cancel()
			if err := c.Check(ctx, open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Cases returns the whole contract.
func Cases() []Case {
	return slices.Concat(createCases, getCases, replaceCases, valueCases, ownershipCases, listCases, filterCases, limitCases)
}

// another returns the other view of the records.
func (s Subject) another() task.Store {
	if s.Another != nil {
		return s.Another
	}
	return s.Store
}

// eventually tries until check passes or the listing's lag has passed, and
// returns the last error.
func (s Subject) eventually(ctx context.Context, check func() error) error {
	deadline := time.Now().Add(s.ListLag)
	for {
		err := check()
		if err == nil || !time.Now().Before(deadline) {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// atOnce calls do from n goroutines that start together, and returns when all
// have.
func atOnce(n int, do func(i int)) {
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			do(i)
		})
	}
	close(start)
	all.Wait()
}

// create stores a record that must be new.
func create(ctx context.Context, store task.Store, r *task.Record) error {
	existing, err := store.Create(ctx, r)
	if err != nil {
		return fmt.Errorf("Create: %w", err)
	}
	if existing != nil {
		return fmt.Errorf("Create of a new id says that it exists: %+v", *existing)
	}
	return nil
}

// stored checks that the store holds exactly r, whose revision is r.Revision
// unless that is empty.
func stored(ctx context.Context, store task.Store, r *task.Record) error {
	got, err := store.Get(ctx, r.ID)
	if err != nil {
		return fmt.Errorf("Get: %w", err)
	}
	if r.Revision != "" && got.Revision != r.Revision {
		return fmt.Errorf("Get returns revision %q, want %q", got.Revision, r.Revision)
	}
	return same(got, r)
}

// absent checks that there is no such record.
func absent(ctx context.Context, store task.Store, id string) error {
	r, err := store.Get(ctx, id)
	return kind("Get of a record that is not there", task.NotStored, err, r)
}

// kind checks that a call failed with that kind of error.
func kind(what string, want task.Kind, err error, result any) error {
	if task.KindOf(err) != want {
		return fmt.Errorf("%s: want %s, got error %v, result %+v", what, want, err, result)
	}
	return nil
}
