package dispatchtest_test

import (
	"context"
	"slices"
	"testing"

	"github.com/taskgate/taskgate/core/task"
)

func TestMutantsOfManyEntriesAreCaught(t *testing.T) {
	catch(t, bounded(true), []mutant{
		{"the answers are in another order", func(b *broken) {
			b.atomic = func(ctx context.Context, entries []task.Entry) []task.EntryResult {
				results := b.real.CreateAndDispatch(ctx, entries)
				slices.SortStableFunc(results, func(a, b task.EntryResult) int {
					switch {
					case (a.Err == nil) == (b.Err == nil):
						return 0
					case a.Err == nil:
						return -1
					}
					return 1
				})
				return results
			}
		}, []string{entriesInPlace}},
		{"what is refused ends the call", func(b *broken) {
			b.atomic = func(ctx context.Context, entries []task.Entry) []task.EntryResult {
				results := make([]task.EntryResult, len(entries))
				for i := range entries {
					if i > 0 && results[i-1].Err != nil {
						results[i].Err = results[i-1].Err
						continue
					}
					results[i] = b.real.CreateAndDispatch(ctx, entries[i:i+1])[0]
				}
				return results
			}
		}, []string{entriesInPlace}},
		{"what is refused is stored", func(b *broken) {
			b.atomic = func(ctx context.Context, entries []task.Entry) []task.EntryResult {
				results := b.real.CreateAndDispatch(ctx, entries)
				for i, e := range entries {
					if task.KindOf(results[i].Err) == task.MessageTooLarge && len(entries) > 1 {
						_, _ = b.Store.Create(ctx, e.Record)
					}
				}
				return results
			}
		}, []string{entriesInPlace}},
		{"only the first ten are sent", func(b *broken) {
			b.atomic = func(ctx context.Context, entries []task.Entry) []task.EntryResult {
				results := b.real.CreateAndDispatch(ctx, entries)
				for _, e := range entries[min(10, len(entries)):] {
					_ = b.real.Cancel(ctx, task.Sent{ID: e.Message.ID, Queue: e.Message.Queue})
					b.real.Take()
				}
				return results
			}
		}, []string{entriesDone}},
		{"an id again is said to be new", func(b *broken) {
			b.atomic = func(ctx context.Context, entries []task.Entry) []task.EntryResult {
				results := b.real.CreateAndDispatch(ctx, entries)
				for i := range results[min(1, len(results)):] {
					if entries[i+1].Record.ID == entries[i].Record.ID {
						results[i+1] = results[0]
					}
				}
				return results
			}
		}, []string{entriesOneID}},
		{"the last of one id is the one that is stored", func(b *broken) {
			b.atomic = func(ctx context.Context, entries []task.Entry) []task.EntryResult {
				turned := slices.Clone(entries)
				slices.Reverse(turned)
				results := b.real.CreateAndDispatch(ctx, turned)
				slices.Reverse(results)
				return results
			}
		}, []string{entriesOneID}},
		{"the context is swallowed when there are many", func(b *broken) {
			b.atomic = func(ctx context.Context, entries []task.Entry) []task.EntryResult {
				if len(entries) > 1 {
					ctx = context.WithoutCancel(ctx)
				}
				return b.real.CreateAndDispatch(ctx, entries)
			}
		}, []string{entriesContext}},
	})
}
