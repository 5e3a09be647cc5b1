package dispatchtest_test

import (
	"context"
	"slices"
	"testing"

	"github.com/taskgate/taskgate/core/task"
)

func TestMutantsOfBatchesAreCaught(t *testing.T) {
	// changing is a DispatchBatch that changes what is sent; the results stay
	// where they were.
	changing := func(change func(ms []task.Outgoing) []task.Outgoing) func(*broken) {
		return func(b *broken) {
			b.batch = func(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
				return b.real.DispatchBatch(ctx, change(slices.Clone(ms)))
			}
		}
	}
	each := func(change func(m *task.Outgoing)) func(*broken) {
		return changing(func(ms []task.Outgoing) []task.Outgoing {
			for i := range ms {
				change(&ms[i])
			}
			return ms
		})
	}
	answers := func(change func(ms []task.Outgoing, results []task.DispatchResult)) func(*broken) {
		return func(b *broken) {
			b.batch = func(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
				results := b.real.DispatchBatch(ctx, ms)
				change(ms, results)
				return results
			}
		}
	}
	failed := func(results []task.DispatchResult) int {
		return slices.IndexFunc(results, func(r task.DispatchResult) bool { return r.Err != nil })
	}
	catch(t, bounded(true), []mutant{
		{"results are out of order", answers(func(_ []task.Outgoing, results []task.DispatchResult) {
			slices.SortStableFunc(results, func(a, b task.DispatchResult) int {
				return map[bool]int{true: 1}[a.Err != nil] - map[bool]int{true: 1}[b.Err != nil]
			})
		}), []string{batchAnswersInOrder}},
		{"receipts are out of order", answers(func(_ []task.Outgoing, results []task.DispatchResult) {
			for i := 1; i < len(results); i++ {
				results[i-1].Receipt, results[i].Receipt = results[i].Receipt, results[i-1].Receipt
			}
		}), []string{batchReceipts}},
		{"one failure fails all", answers(func(_ []task.Outgoing, results []task.DispatchResult) {
			if i := failed(results); i >= 0 {
				for j := range results {
					results[j] = results[i]
				}
			}
		}), []string{batchAnswersInOrder}},
		{"failures in an answer are not looked at", answers(func(_ []task.Outgoing, results []task.DispatchResult) {
			for i, r := range results {
				if task.KindOf(r.Err).Final() {
					results[i].Err = nil
				}
			}
		}), []string{batchAnswersInOrder}},
		{"what comes after a failure is not sent", func(b *broken) {
			b.batch = func(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
				results := make([]task.DispatchResult, len(ms))
				for i, m := range ms {
					results[i].Receipt, results[i].Err = b.real.Dispatch(ctx, m)
					if task.KindOf(results[i].Err).Final() {
						break
					}
				}
				return results
			}
		}, []string{batchAnswersInOrder}},
		{"there are results for failures only", func(b *broken) {
			b.batch = func(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
				return slices.DeleteFunc(b.real.DispatchBatch(ctx, ms), func(r task.DispatchResult) bool { return r.Err == nil })
			}
		}, []string{batchDelivers, batchAnswersInOrder, batchOfLarge, batchHonoursDue, batchReceipts, batchRepeats}},
		{"only the first ten are sent", func(b *broken) {
			b.batch = func(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
				return append(b.real.DispatchBatch(ctx, ms[:min(10, len(ms))]), make([]task.DispatchResult, max(0, len(ms)-10))...)
			}
		}, []string{batchDelivers, batchAnswersInOrder}},
		{"only what fits in one call is sent", func(b *broken) {
			b.batch = func(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
				results := make([]task.DispatchResult, len(ms))
				sum := 0
				for i, m := range ms {
					if len(m.Body) <= maxBytes {
						sum += len(m.Body)
					}
					if sum > 3*maxBytes {
						continue
					}
					results[i].Receipt, results[i].Err = b.real.Dispatch(ctx, m)
				}
				return results
			}
		}, []string{batchOfLarge}},
		{"every message has the first one's body", changing(func(ms []task.Outgoing) []task.Outgoing {
			for i := range ms {
				if len(ms[i].Body) < maxBytes/2 {
					ms[i].Body = ms[0].Body
				}
			}
			return ms
		}), []string{batchDelivers, batchAnswersInOrder, batchHonoursDue, batchReceipts, batchRepeats}},
		{"attributes are dropped", each(func(m *task.Outgoing) { m.Attributes = nil }),
			[]string{batchDelivers, batchOfLarge, batchRepeats}},
		{"delays are dropped", each(func(m *task.Outgoing) { m.Due = task.Time{} }), []string{batchHonoursDue}},
		{"every message has the first one's delay", changing(func(ms []task.Outgoing) []task.Outgoing {
			for i := range ms {
				ms[i].Due = ms[0].Due
			}
			return ms
		}), []string{batchHonoursDue}},
		{"an id that comes again is dropped from the results", func(b *broken) {
			b.batch = func(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
				var once []task.Outgoing
				for _, m := range ms {
					if !slices.ContainsFunc(once, func(o task.Outgoing) bool { return o.ID == m.ID }) {
						once = append(once, m)
					}
				}
				return b.real.DispatchBatch(ctx, once)
			}
		}, []string{batchRepeats}},
		{"an id that comes again is refused", func(b *broken) {
			b.batch = func(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
				results := b.real.DispatchBatch(ctx, ms)
				for i := range ms {
					for j := range i {
						if ms[i].ID == ms[j].ID {
							results[i] = task.DispatchResult{Err: task.Errorf(task.MessageRejected, "ids must be distinct")}
						}
					}
				}
				return results
			}
		}, []string{batchRepeats}},
		{"the context is swallowed", func(b *broken) {
			b.batch = func(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
				return b.real.DispatchBatch(context.WithoutCancel(ctx), ms)
			}
		}, []string{batchHonoursContext}},
		{"a call that fails has no results", func(b *broken) {
			b.batch = func(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
				if ctx.Err() != nil {
					return nil
				}
				return b.real.DispatchBatch(ctx, ms)
			}
		}, []string{batchHonoursContext}},
		{"a call that fails is answered for its first message", answers(func(_ []task.Outgoing, results []task.DispatchResult) {
			for i := range results {
				if i > 0 && task.KindOf(results[i].Err) == task.Unavailable {
					results[i] = task.DispatchResult{}
				}
			}
		}), []string{batchHonoursContext, batchNamesMissingQueue}},
		{"a missing queue is refused for good", answers(func(ms []task.Outgoing, results []task.DispatchResult) {
			for i := range ms {
				if ms[i].Queue == "nowhere" {
					results[i].Err = task.Errorf(task.MessageRejected, "there is no queue nowhere")
				}
			}
		}), []string{batchNamesMissingQueue}},
	})
}

// alone is a defect of CreateAndDispatch with a single entry.
func alone(b *broken, f func(context.Context, *task.Record, task.Outgoing) (*task.Record, task.Receipt, error)) func(context.Context, []task.Entry) []task.EntryResult {
	return func(ctx context.Context, entries []task.Entry) []task.EntryResult {
		if len(entries) != 1 {
			return b.real.CreateAndDispatch(ctx, entries)
		}
		results := make([]task.EntryResult, 1)
		results[0].Existing, results[0].Receipt, results[0].Err = f(ctx, entries[0].Record, entries[0].Message)
		return results
	}
}

// one is a CreateAndDispatch of one entry.
func one(ctx context.Context, a task.AtomicDispatcher, r *task.Record, m task.Outgoing) (*task.Record, task.Receipt, error) {
	result := a.CreateAndDispatch(ctx, []task.Entry{{Record: r, Message: m}})[0]
	return result.Existing, result.Receipt, result.Err
}

func TestMutantsOfAtomicsAreCaught(t *testing.T) {
	catch(t, bounded(true), []mutant{
		{"the record is committed first", func(b *broken) {
			b.atomic = alone(b, func(ctx context.Context, r *task.Record, m task.Outgoing) (*task.Record, task.Receipt, error) {
				existing, err := b.Store.Create(ctx, r)
				if existing != nil || err != nil {
					return existing, task.Receipt{}, err
				}
				receipt, err := b.real.Dispatch(ctx, m)
				return nil, receipt, err
			})
		}, []string{atomicRefusedMessage}},
		{"the message is committed first", func(b *broken) {
			b.atomic = alone(b, func(ctx context.Context, r *task.Record, m task.Outgoing) (*task.Record, task.Receipt, error) {
				receipt, err := b.real.Dispatch(ctx, m)
				if err != nil {
					return nil, task.Receipt{}, err
				}
				existing, err := b.Store.Create(ctx, r)
				return existing, receipt, err
			})
		}, []string{atomicCreatesOnce, atomicOversizeRecord, atomicOneWins}},
		{"a request that ends leaves the record alone", func(b *broken) {
			b.atomic = alone(b, func(ctx context.Context, r *task.Record, m task.Outgoing) (*task.Record, task.Receipt, error) {
				if ctx.Err() != nil {
					_, _ = b.Store.Create(context.WithoutCancel(ctx), r)
				}
				return one(ctx, b.real, r, m)
			})
		}, []string{atomicHonoursContext}},
		{"a request that ends leaves the message alone", func(b *broken) {
			b.atomic = alone(b, func(ctx context.Context, r *task.Record, m task.Outgoing) (*task.Record, task.Receipt, error) {
				if ctx.Err() != nil {
					_, _ = b.real.Dispatch(context.WithoutCancel(ctx), m)
				}
				return one(ctx, b.real, r, m)
			})
		}, []string{atomicHonoursContext}},
		{"the context is swallowed", func(b *broken) {
			b.atomic = alone(b, func(ctx context.Context, r *task.Record, m task.Outgoing) (*task.Record, task.Receipt, error) {
				return one(context.WithoutCancel(ctx), b.real, r, m)
			})
		}, []string{atomicHonoursContext}},
		{"the record has no revision", func(b *broken) {
			b.atomic = alone(b, func(ctx context.Context, r *task.Record, m task.Outgoing) (*task.Record, task.Receipt, error) {
				own := *r
				return one(ctx, b.real, &own, m)
			})
		}, []string{atomicDoesBoth}},
		{"the record that is there is not returned", func(b *broken) {
			b.atomic = alone(b, func(ctx context.Context, r *task.Record, m task.Outgoing) (*task.Record, task.Receipt, error) {
				_, receipt, err := one(ctx, b.real, r, m)
				return nil, receipt, err
			})
		}, []string{atomicCreatesOnce, atomicOneWins}},
		{"the record that is there is replaced", func(b *broken) {
			b.atomic = alone(b, func(ctx context.Context, r *task.Record, m task.Outgoing) (*task.Record, task.Receipt, error) {
				existing, receipt, err := one(ctx, b.real, r, m)
				if existing != nil {
					own := *r
					own.Revision = existing.Revision
					_ = b.Store.Replace(ctx, &own)
				}
				return existing, receipt, err
			})
		}, []string{atomicCreatesOnce}},
		{"no message is sent", func(b *broken) {
			b.atomic = alone(b, func(ctx context.Context, r *task.Record, m task.Outgoing) (*task.Record, task.Receipt, error) {
				if err := b.answer(m); err != nil {
					return nil, task.Receipt{}, err
				}
				existing, err := b.Store.Create(ctx, r)
				return existing, task.Receipt{}, err
			})
		}, []string{atomicDoesBoth, atomicOneWins, atomicCancels}},
		{"the delay is dropped", func(b *broken) {
			b.atomic = alone(b, func(ctx context.Context, r *task.Record, m task.Outgoing) (*task.Record, task.Receipt, error) {
				m.Due = task.Time{}
				return one(ctx, b.real, r, m)
			})
		}, []string{atomicCancels}},
		{"the attributes are dropped", func(b *broken) {
			b.atomic = alone(b, func(ctx context.Context, r *task.Record, m task.Outgoing) (*task.Record, task.Receipt, error) {
				m.Attributes = nil
				return one(ctx, b.real, r, m)
			})
		}, []string{atomicDoesBoth, atomicOneWins}},
	})
}
