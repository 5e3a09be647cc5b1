package dispatchtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

func TestMutantsOfRoutesAreCaught(t *testing.T) {
	// again is a dispatcher's own decision, by the time that is left.
	again := func(m *task.Outgoing) {
		var left time.Duration
		if !m.Due.IsZero() {
			left = time.Until(m.Due.Time)
		}
		m.Route = twoRoutes(m.Queue, left).Route
	}
	catchWith(t, twoRoutes, false, []mutant{
		{"dispatch chooses the route again", sending(again), []string{keepsRoute}},
		{"a batch chooses the routes again", func(b *broken) {
			b.batch = func(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
				ms = append([]task.Outgoing(nil), ms...)
				for i := range ms {
					again(&ms[i])
				}
				return b.real.DispatchBatch(ctx, ms)
			}
		}, []string{keepsRoute}},
		{"cancel ignores the route", func(b *broken) {
			b.cancel = func(ctx context.Context, s task.Sent) error {
				s.Route = twoRoutes(s.Queue, 0).Route
				return b.real.Cancel(ctx, s)
			}
		}, []string{keepsRoute, cancelRemoves, batchReceipts, atomicCancels}},
	})
}
