// Package histories checks that a running taskgate is linearizable. Several
// clients enqueue, report, cancel and read one task concurrently. The package
// records every answer and its times. Then porcupine searches for an order of the
// operations, within those times, in which one task alone could have given these
// answers (P-compositional by task). The model of a task is written here a second
// time, without core/task's state machine.
//
// An operation whose answer was lost may have taken effect at any later time, or
// never. The same holds for a 503.
package histories

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// Target is a running service.
type Target struct {
	BaseURL string       // no trailing slash
	Client  *http.Client // nil = one with connections for all
	Caller  string       // as whom the service knows the client
	Token   func(taskID string) string
	Members string // more members of each enqueue's body, each with a comma in front
	Atomic  bool   // a record and its message are one commit, so that no key is ever in flight
	Killed  bool   // it is killed and started again meanwhile, at the same address
}

// Options say how many histories to record.
type Options struct {
	Histories int
	Lapsing   int // of them with leases that lapse, which takes seconds each
	InFlight  int // at once; 0 = 32
	Seed      uint64
	Progress  func(done int) // called now and then; nil = nobody asks
}

// Report counts the histories and the answers in them.
type Report struct {
	Histories, Operations int
	Answers               map[string]int
	Longest               time.Duration // the slowest check
}

// String is one line for each kind of answer, the most frequent first.
func (r Report) String() string {
	kinds := slices.SortedFunc(maps.Keys(r.Answers), func(a, b string) int { return r.Answers[b] - r.Answers[a] })
	var b strings.Builder
	fmt.Fprintf(&b, "%d histories of %d operations, the slowest check %v", r.Histories, r.Operations, r.Longest.Round(time.Millisecond))
	for _, kind := range kinds {
		fmt.Fprintf(&b, "\n%9d %s", r.Answers[kind], kind)
	}
	return b.String()
}

// Violation is a history that no order explains.
type Violation struct {
	Seed, Number uint64
	Unknown      bool // the search took too long
	history      *history
	info         porcupine.LinearizationInfo
}

func (v *Violation) Error() string {
	what := "is not linearizable"
	if v.Unknown {
		what = "could not be checked in time"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "history %d of seed %d %s; task %s:", v.Number, v.Seed, what, v.history.id)
	for _, o := range v.history.ops {
		fmt.Fprintf(&b, "\n  %10d–%-10d client %d: %v → %v", o.in.from.Microseconds(), o.in.to.Microseconds(), o.client, o.in, o.out)
	}
	return b.String()
}

// picture writes porcupine's page about the history to a file that is kept.
func (v *Violation) picture() (string, error) {
	f, err := os.CreateTemp("", "taskgate-history-*.html")
	if err != nil {
		return "", err
	}
	return f.Name(), errors.Join(porcupine.Visualize(model, v.info, f), f.Close())
}

// checkTime bounds the search for an order, which is exponential at worst.
const checkTime = time.Minute

// Run records histories and checks each. Its error is a [*Violation], or that the
// target cannot be reached or does not speak the contract.
func Run(ctx context.Context, target Target, o Options) (Report, error) {
	if o.InFlight == 0 {
		o.InFlight = 32
	}
	if target.Client == nil {
		transport := &http.Transport{MaxIdleConns: 0, MaxIdleConnsPerHost: 6 * (o.InFlight + o.Lapsing)}
		defer transport.CloseIdleConnections()
		target.Client = &http.Client{Transport: transport}
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r := &run{target: target, seed: o.Seed, epoch: time.Now(), report: Report{Answers: map[string]int{}}}
	var next atomic.Int64
	var wg sync.WaitGroup
	work := func(lapsing bool, last int) {
		for ctx.Err() == nil {
			number := next.Add(1)
			if number > int64(last) {
				return
			}
			if err := r.one(ctx, uint64(number), lapsing); err != nil {
				stop(err)
				return
			}
			if o.Progress != nil && number%1000 == 0 {
				o.Progress(int(number))
			}
		}
	}
	for i := range o.Lapsing {
		wg.Go(func() {
			if err := r.one(ctx, uint64(o.Histories+i), true); err != nil {
				stop(err)
			}
		})
	}
	for range o.InFlight {
		wg.Go(func() { work(false, o.Histories-o.Lapsing) })
	}
	wg.Wait()
	return r.report, context.Cause(ctx)
}

type run struct {
	target Target
	seed   uint64
	epoch  time.Time

	mu     sync.Mutex
	report Report
}

// one records one history and checks it.
func (r *run) one(ctx context.Context, number uint64, lapsing bool) error {
	h, err := record(ctx, r.target, r.epoch, r.seed, number, lapsing)
	if err != nil {
		return err
	}
	ops := h.operations()
	start := time.Now()
	result := porcupine.CheckOperationsTimeout(model, ops, checkTime)
	took := time.Since(start)
	if result != porcupine.Ok {
		_, info := porcupine.CheckOperationsVerbose(model, ops, checkTime)
		return &Violation{r.seed, number, result == porcupine.Unknown, h, info}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Histories++
	r.report.Operations += len(h.ops)
	r.report.Longest = max(r.report.Longest, took)
	for _, o := range h.ops {
		r.report.Answers[o.in.kind+" "+o.out.brief()]++
	}
	return nil
}

// Check runs the histories as a test. A seed of 0 is drawn.
func Check(t *testing.T, target Target, o Options) {
	t.Helper()
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	o.Progress = func(done int) {
		if done%10_000 == 0 {
			t.Logf("%d of %d histories", done, o.Histories)
		}
	}
	report, err := Run(t.Context(), target, o)
	Conclude(t, o.Seed, report, err)
}

// Conclude logs what [Run] reports, or fails the test: with the history, the seed
// and where porcupine's picture of it is.
func Conclude(t *testing.T, seed uint64, report Report, err error) {
	t.Helper()
	if v, ok := errors.AsType[*Violation](err); ok {
		at, err := v.picture()
		t.Fatalf("%v\nthe picture: %s, %v", v, at, err)
	}
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	t.Logf("seed %d: %v", seed, report)
}
