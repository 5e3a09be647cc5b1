package embedded_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/core/task"
)

// onDisk opens a database on the disk of the machine with n queued tasks in it.
func onDisk(b *testing.B, n int) *embedded.DB {
	b.Helper()
	db, err := embedded.Open(b.TempDir(), embedded.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	q, start := dispatcher(db, 0), time.Now()
	var wg sync.WaitGroup
	for c := range 64 {
		wg.Go(func() {
			for i := c; i < n; i += 64 {
				r := newRecord(start.Add(time.Duration(i) * time.Millisecond))
				if _, err := createAndDispatch(b.Context(), q, r, outgoing(r.ID, time.Time{})); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return db
}

// BenchmarkListFirstPage measures page 1 of the listing at 100 and at 100,000
// tasks, in turns, so that the noise of the machine meets both. "ratio" is the
// median of the pairs' ratios: the promise is at most 2.
func BenchmarkListFirstPage(b *testing.B) {
	few, many := onDisk(b, 100), onDisk(b, 100_000)
	page := func(db *embedded.DB) float64 {
		start := time.Now()
		p, err := db.List(b.Context(), task.Query{Owner: "alice", Limit: 50})
		if err != nil || len(p.Records) != 50 {
			b.Fatal(len(p.Records), err)
		}
		return float64(time.Since(start).Nanoseconds())
	}
	page(few)
	page(many)
	var fewNS, manyNS, ratios []float64
	for b.Loop() {
		f, m := page(few), page(many)
		fewNS, manyNS, ratios = append(fewNS, f), append(manyNS, m), append(ratios, m/f)
	}
	b.ReportMetric(median(fewNS), "ns/page@100")
	b.ReportMetric(median(manyNS), "ns/page@100k")
	b.ReportMetric(median(ratios), "ratio")
}

// BenchmarkCreateAndDispatch is the durable enqueue without anything around it.
func BenchmarkCreateAndDispatch(b *testing.B) {
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprintf("c=%d", clients), func(b *testing.B) {
			q := dispatcher(onDisk(b, 0), 0)
			work := make(chan struct{}, clients)
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range clients {
				wg.Go(func() {
					for range work {
						r := newRecord(time.Now())
						if _, err := createAndDispatch(b.Context(), q, r, outgoing(r.ID, time.Time{})); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for range b.N {
				work <- struct{}{}
			}
			close(work)
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
		})
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
