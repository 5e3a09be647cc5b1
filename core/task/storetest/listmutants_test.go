package storetest_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/storetest"
	"github.com/taskgate/taskgate/core/task/tasktest"
)

// listing is a store whose List does something to the query and to the page.
func listing(before func(*task.Query), after func(task.Query, *task.Page)) func(task.Store) task.Store {
	return func(good task.Store) task.Store {
		return &broken{Store: good, list: func(ctx context.Context, q task.Query) (task.Page, error) {
			if before != nil {
				before(&q)
			}
			page, err := good.List(ctx, q)
			if err == nil && after != nil {
				after(q, &page)
			}
			return page, err
		}}
	}
}

// all returns every record that matches, newest first.
func all(ctx context.Context, good task.Store, q task.Query) ([]*task.Record, error) {
	q.After, q.Limit = task.Position{}, 1<<30
	page, err := good.List(ctx, q)
	return page.Records, err
}

func TestMutantsOfListingsAreCaught(t *testing.T) {
	first := task.Position{}
	for _, m := range []mutant{
		{"records of one instant are in the order of their ids", listing(nil, func(_ task.Query, page *task.Page) {
			slices.SortStableFunc(page.Records, func(a, b *task.Record) int {
				if c := b.EnqueuedAt.Compare(a.EnqueuedAt.Time); c != 0 {
					return c
				}
				return map[bool]int{true: -1, false: 1}[a.ID < b.ID]
			})
		}), []string{listsInOrder}},
		{"a page has its oldest first", listing(nil, func(_ task.Query, page *task.Page) {
			slices.Reverse(page.Records)
		}), []string{listsInOrder}},
		{"a page skips its first record", listing(nil, func(q task.Query, page *task.Page) {
			if q.After != first && len(page.Records) > 0 {
				page.Records = page.Records[1:]
			}
		}), []string{pagesVisitAll, walksSurviveWrites, filtersSelect, keepsMicroseconds}},
		{"a page repeats the record before it", func(good task.Store) task.Store {
			return &broken{Store: good, list: func(ctx context.Context, q task.Query) (task.Page, error) {
				page, err := good.List(ctx, q)
				if err != nil || q.After == first || q.Limit == 1 {
					return page, err
				}
				before, err := good.Get(ctx, q.After.ID)
				page.Records = append([]*task.Record{before}, page.Records...)[:max(1, min(q.Limit, len(page.Records)))]
				return page, err
			}}
		}, []string{pagesVisitAll, walksSurviveWrites, filtersSelect}},
		{"a walk goes on after the instant, not after the record", listing(nil, func(_ task.Query, page *task.Page) {
			if page.Next != first {
				page.Next.ID = "0"
			}
		}), []string{pagesVisitAll, walksSurviveWrites}},
		{"pages are counted, not positioned", func(good task.Store) task.Store {
			seen := map[task.Position]int{}
			return &broken{Store: good, list: func(ctx context.Context, q task.Query) (page task.Page, err error) {
				records, err := all(ctx, good, q)
				from := 0
				if q.After != first {
					from = min(seen[q.After], len(records))
				}
				to := min(from+q.Limit, len(records))
				page.Records = records[from:to]
				if to < len(records) {
					page.Next = records[to-1].Position()
					seen[page.Next] = to
				}
				return page, err
			}}
		}, []string{walksSurviveWrites, replacedMoves}},
		{"a page holds one more than its limit", listing(func(q *task.Query) { q.Limit++ }, nil), []string{pagesKeepLimit}},
		{"there is always a next position", listing(nil, func(q task.Query, page *task.Page) {
			if page.Next == first {
				page.Next = q.After
				if len(page.Records) > 0 {
					page.Next = page.Records[len(page.Records)-1].Position()
				}
				if page.Next == first {
					page.Next = task.Position{ID: "none"}
				}
			}
		}), []string{walksEnd}},
		{"the limit comes before the filter, and an empty page ends the walk", func(good task.Store) task.Store {
			return &broken{Store: good, list: func(ctx context.Context, q task.Query) (task.Page, error) {
				status := q.Status
				q.Status = ""
				page, err := good.List(ctx, q)
				page.Records = slices.DeleteFunc(page.Records, func(r *task.Record) bool { return status != "" && r.Status != status })
				if len(page.Records) == 0 {
					page.Next = first
				}
				return page, err
			}}
		}, []string{filtersReachFar}},
		{"the owner is ignored", listing(func(q *task.Query) { q.Owner = "" }, nil), []string{filtersSelect}},
		{"the status is ignored", listing(func(q *task.Query) { q.Status = "" }, nil), []string{filtersSelect, filtersReachFar, filtersFollow}},
		{"the queue is ignored", listing(func(q *task.Query) { q.QueueName = "" }, nil), []string{filtersSelect, filtersReachFar}},
		{"the backend is ignored", listing(func(q *task.Query) { q.Backend = "" }, nil), []string{filtersSelect, filtersReachFar}},
		{"the task name is ignored", listing(func(q *task.Query) { q.TaskName = "" }, nil), []string{filtersSelect, filtersReachFar}},
		{"only one filter counts", listing(func(q *task.Query) {
			if q.TaskName != "" {
				q.Backend = ""
			}
		}, nil), []string{filtersSelect}},
		{"a listing shows what was created", func(good task.Store) task.Store {
			created := map[string]*task.Record{}
			b := listing(nil, func(_ task.Query, page *task.Page) {
				for i, r := range page.Records {
					page.Records[i] = tasktest.Clone(created[r.ID])
				}
			})(good).(*broken)
			b.create = func(ctx context.Context, r *task.Record) (*task.Record, error) {
				existing, err := good.Create(ctx, r)
				if existing == nil && err == nil {
					created[r.ID] = tasktest.Clone(r)
				}
				return existing, err
			}
			return b
		}, []string{listsLatest}},
		{"a replaced record is listed where it was created", func(good task.Store) task.Store {
			created := map[string]task.Time{}
			at := func(r *task.Record) task.Time {
				if t, ok := created[r.ID]; ok {
					return t
				}
				return r.EnqueuedAt
			}
			return &broken{
				Store: good,
				create: func(ctx context.Context, r *task.Record) (*task.Record, error) {
					existing, err := good.Create(ctx, r)
					if existing == nil && err == nil {
						created[r.ID] = r.EnqueuedAt
					}
					return existing, err
				},
				list: func(ctx context.Context, q task.Query) (page task.Page, err error) {
					records, err := all(ctx, good, q)
					slices.SortStableFunc(records, func(a, b *task.Record) int { return at(b).Compare(at(a).Time) })
					from := 1 + slices.IndexFunc(records, func(r *task.Record) bool { return r.ID == q.After.ID })
					to := min(from+q.Limit, len(records))
					if page.Records = records[from:to]; to < len(records) {
						page.Next = records[to-1].Position()
					}
					return page, err
				},
			}
		}, []string{replacedMoves}},
		{"a listing shows records without their arguments", listing(nil, func(_ task.Query, page *task.Page) {
			for _, r := range page.Records {
				r.Args = ""
			}
		}), []string{listsLatest, returnedIsOwn, holdsLarge}},
	} {
		t.Run(m.name, func(t *testing.T) {
			caughtBy(t, func() storetest.Subject { return subject(m.defect(newStore())) }, m.caught...)
		})
	}
}

func TestMutantsOfLimitsAreCaught(t *testing.T) {
	oversize := func(fail func(good task.Store, r *task.Record) error) func(task.Store) task.Store {
		return func(good task.Store) task.Store {
			return &broken{Store: good, replace: func(ctx context.Context, r *task.Record) error {
				if fits(r) != nil {
					return fail(good, r)
				}
				return good.Replace(ctx, r)
			}}
		}
	}
	for _, m := range []mutant{
		{"no bound is kept", func(task.Store) task.Store { return &tasktest.Store{} }, []string{refusesOversize}},
		{"Oversize is Unavailable", oversize(func(task.Store, *task.Record) error {
			return task.Errorf(task.Unavailable, "validation failed")
		}), []string{refusesOversize}},
		{"what is too large is cut", oversize(func(good task.Store, r *task.Record) error {
			r.ReturnValue = ""
			return good.Replace(context.Background(), r)
		}), []string{refusesOversize}},
		{"an Oversize replace spoils the record", oversize(func(good task.Store, r *task.Record) error {
			own := *r
			own.ReturnValue = ""
			_ = good.Replace(context.Background(), &own)
			return fits(r)
		}), []string{refusesOversize}},

		{"the context is swallowed", func(good task.Store) task.Store {
			return &broken{Store: good,
				create: func(ctx context.Context, r *task.Record) (*task.Record, error) {
					return good.Create(context.WithoutCancel(ctx), r)
				},
				get: func(ctx context.Context, id string) (*task.Record, error) {
					return good.Get(context.WithoutCancel(ctx), id)
				},
				replace: func(ctx context.Context, r *task.Record) error { return good.Replace(context.WithoutCancel(ctx), r) },
				list: func(ctx context.Context, q task.Query) (task.Page, error) {
					return good.List(context.WithoutCancel(ctx), q)
				},
			}
		}, []string{honoursContext}},
		{"List alone swallows the context", func(good task.Store) task.Store {
			return &broken{Store: good, list: func(ctx context.Context, q task.Query) (task.Page, error) {
				return good.List(context.WithoutCancel(ctx), q)
			}}
		}, []string{honoursContext}},
		{"the context's error comes as it is", func(good task.Store) task.Store {
			return &broken{Store: good, get: func(ctx context.Context, id string) (*task.Record, error) {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				return good.Get(ctx, id)
			}}
		}, []string{honoursContext}},
		{"a create that ends early is half-done", func(good task.Store) task.Store {
			return &broken{Store: good, create: func(ctx context.Context, r *task.Record) (*task.Record, error) {
				if ctx.Err() != nil {
					half := *r
					half.Kwargs = ""
					_, _ = good.Create(context.WithoutCancel(ctx), &half)
				}
				return good.Create(ctx, r)
			}}
		}, []string{honoursContext}},
		{"a replace that ends early is half-done", func(good task.Store) task.Store {
			return &broken{Store: good, replace: func(ctx context.Context, r *task.Record) error {
				if ctx.Err() != nil {
					half := *r
					half.DeliveryID = "half"
					_ = good.Replace(context.WithoutCancel(ctx), &half)
				}
				return good.Replace(ctx, r)
			}}
		}, []string{honoursContext}},
	} {
		t.Run(m.name, func(t *testing.T) {
			caughtBy(t, func() storetest.Subject { return subject(m.defect(newStore())) }, m.caught...)
		})
	}
}

// A store in the contract may list late, and may fill its pages as it likes.
func TestListingMayLagAndHaveShortPages(t *testing.T) {
	caughtBy(t, func() storetest.Subject {
		good := newStore()
		late := newStore() // what listings show: each write a moment later
		type write struct {
			at time.Time
			r  *task.Record
		}
		var writes []write
		show := func(r *task.Record) {
			writes = append(writes, write{time.Now().Add(300 * time.Millisecond), tasktest.Clone(r)})
		}
		s := subject(&broken{Store: good,
			create: func(ctx context.Context, r *task.Record) (*task.Record, error) {
				existing, err := good.Create(ctx, r)
				if existing == nil && err == nil {
					show(r)
				}
				return existing, err
			},
			replace: func(ctx context.Context, r *task.Record) error {
				err := good.Replace(ctx, r)
				if err == nil {
					show(r)
				}
				return err
			},
			list: func(ctx context.Context, q task.Query) (task.Page, error) {
				for len(writes) > 0 && !writes[0].at.After(time.Now()) {
					_ = overwrite(ctx, late, writes[0].r)
					writes = writes[1:]
				}
				status := q.Status
				q.Status, q.Limit = "", (q.Limit+1)/2
				page, err := late.List(ctx, q)
				page.Records = slices.DeleteFunc(page.Records, func(r *task.Record) bool { return status != "" && r.Status != status })
				return page, err
			},
		})
		s.ListLag = time.Second
		return s
	})
}
