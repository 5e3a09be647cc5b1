package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
	"github.com/taskgate/taskgate/core/worker"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
)

// TestALostAnswerToAnyEventChangesNothing: the event has taken effect, twice the
// connection is reset before its answer, or in it, and the worker ends as if it had heard.
func TestALostAnswerToAnyEventChangesNothing(t *testing.T) {
	progress := worker.HandlerFunc(func(ctx context.Context, tk *worker.Task) (any, error) { return 3, tk.Progress(ctx, 0.5, "half") })
	for name, c := range map[string]struct {
		event   string
		handler worker.HandlerFunc
		want    string
		outcome worker.Outcome
	}{
		"started":         {task.EventStarted, three, "SUCCEEDED 1", acknowledged},
		"heartbeat":       {task.EventHeartbeat, sleeper(3 * time.Second), "SUCCEEDED 1", acknowledged},
		"progress":        {task.EventProgress, progress, "SUCCEEDED 1", acknowledged},
		"succeeded":       {task.EventSucceeded, three, "SUCCEEDED 1", acknowledged},
		"failed":          {task.EventFailed, fails(errors.New("no")), "RETRYING 1", left},
		"failed for good": {task.EventFailed, fails(worker.Permanent(errors.New("no"))), "FAILED 1", acknowledged},
		"cancelled":       {task.EventCancelled, nil, "CANCELLED 1", acknowledged},
		"dead_lettered":   {task.EventDeadLettered, nil, "FAILED 0", acknowledged},
		"started, cut":    {task.EventStarted, three, "SUCCEEDED 1", acknowledged},
		"succeeded, cut":  {task.EventSucceeded, three, "SUCCEEDED 1", acknowledged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &real{T: t, queue: &tasktest.Queue{}}
			r.service = &task.Service{
				Store: &tasktest.Store{}, Backends: map[string]task.Backend{"default": {Dispatcher: r.queue, Target: "memory", DefaultQueue: "default"}},
				Tokens: task.Tokens{Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}}, ResultTTL: time.Hour, MaxPayloadBytes: 1 << 20,
				Now: time.Now, NewID: task.NewID, Log: slog.New(slog.DiscardHandler),
			}
			up := httptest.NewServer(httpapi.New(httpapi.Config{Service: r.service, Auth: httpapi.Keys(nil), Log: r.service.Log}))
			t.Cleanup(up.Close)
			p := faultproxy.New(t, up.URL)
			caller := task.Call{Owner: "alice", BaseURL: p.URL()}
			accepted, err := r.service.Enqueue(t.Context(), caller, task.Request{TaskName: "t", Backend: "default", Args: []byte("[]"), Kwargs: []byte("{}")})
			if err != nil {
				t.Fatal(err)
			}
			id, m := accepted.Task.ID, r.queue.Take()[0]
			if c.event == task.EventCancelled {
				c.handler = func(ctx context.Context, _ *worker.Task) (any, error) {
					if _, _, err := r.service.Cancel(ctx, caller, id); err != nil {
						return nil, err
					}
					<-ctx.Done() // a heartbeat brings the word
					return nil, ctx.Err()
				}
			}
			match := func(r *faultproxy.Request) bool { return strings.Contains(string(r.Body), `"type":"`+c.event+`"`) }
			fault := faultproxy.Fault(faultproxy.ResetAfter)
			if strings.HasSuffix(name, "cut") {
				fault = faultproxy.Truncated
			}
			p.Next(match, fault, fault)
			w := newWorker(t, worker.Config{Handler: c.handler, EventsBase: p.URL(), Lease: 5 * time.Second, ID: "w"})
			do := w.Process
			if c.event == task.EventDeadLettered {
				do = w.DeadLetter
			}
			if got := do(t.Context(), worker.Delivery{Body: m.Body, Attributes: m.Attributes}); got != c.outcome {
				t.Errorf("outcome %+v, want %+v", got, c.outcome)
			}
			if n := p.Count(match); n < 3 {
				t.Errorf("the event was sent %d times: nothing was lost", n)
			}
			r.is(id, c.want)
		})
	}
}

// TestDeliveriesThatComeTwiceOrOutOfOrderEndEachTaskOnce: three workers, and a
// broker that delivers everything up to three times, shuffled, and again until
// it is acknowledged.
func TestDeliveriesThatComeTwiceOrOutOfOrderEndEachTaskOnce(t *testing.T) {
	seeds := uint64(20)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			r, random := newReal(t, 0, nil), rand.New(rand.NewPCG(seed, 0))
			var mu sync.Mutex
			runs := map[string]bool{} // by id and attempt
			handler := func(ctx context.Context, tk *worker.Task) (any, error) {
				mu.Lock()
				run := fmt.Sprint(tk.ID, " ", tk.Attempt)
				again := runs[run]
				runs[run] = true
				mu.Unlock()
				if again {
					t.Errorf("seed %d: %s ran twice", seed, run)
				}
				time.Sleep(time.Duration(tk.Attempt) * 7 * time.Second) // the bubble's clock
				if tk.Attempt == 1 && strings.HasPrefix(tk.Name, "flaky") {
					return nil, errors.New("once more")
				}
				return tk.Attempt, nil
			}
			var deliveries []worker.Delivery
			want := map[string]string{}
			for i := range 12 {
				name, state := "t", "SUCCEEDED 1"
				if i%3 == 0 {
					name, state = "flaky", "SUCCEEDED 2"
				}
				id, m := r.enqueue(`{"task_name":"` + name + `"}`)
				want[id] = state
				for range 1 + random.IntN(3) {
					deliveries = append(deliveries, m)
				}
			}
			random.Shuffle(len(deliveries), func(i, j int) { deliveries[i], deliveries[j] = deliveries[j], deliveries[i] })
			queue := make(chan worker.Delivery, len(deliveries))
			var open sync.WaitGroup
			var processed atomic.Int32
			for _, d := range deliveries {
				open.Add(1)
				queue <- d
			}
			for range 3 {
				w := r.worker(handler)
				go func() {
					for d := range queue {
						o := w.Process(t.Context(), d)
						if n := processed.Add(1); n > 1000 {
							t.Errorf("seed %d: %d deliveries, and no end", seed, n)
							o.Acknowledge = true
						}
						if o.Acknowledge {
							open.Done()
							continue
						}
						time.AfterFunc(max(o.Delay, time.Second), func() { queue <- d })
					}
				}()
			}
			open.Wait()
			close(queue)
			for id, state := range want {
				r.is(id, state)
			}
		})
	}
}

// TestInstancesWhoseClocksDifferKeepAttemptsApart: a lease is an instant of the
// instance that gave it. One whose clock is five minutes ahead holds the next
// delivery off for five minutes longer. One that is behind lets it take over at
// once, while the first still runs: the task runs twice, and the record has the
// word of the newer attempt alone.
func TestInstancesWhoseClocksDifferKeepAttemptsApart(t *testing.T) {
	for _, skew := range []time.Duration{-5 * time.Minute, 5 * time.Minute} {
		t.Run(fmt.Sprint(skew), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				skewed, right := newReal(t, skew, nil), newReal(t, 0, nil)
				right.service.Store, right.queue = skewed.service.Store, skewed.queue
				id, m := skewed.enqueue(`{"task_name":"t"}`)
				first := skewed.worker(func(ctx context.Context, tk *worker.Task) (any, error) {
					time.Sleep(10 * time.Second) // the bubble's clock
					return "first", nil
				})
				done := make(chan worker.Outcome)
				go func() { done <- first.Process(t.Context(), m) }()
				time.Sleep(time.Second)
				second := right.worker(returns("second"))
				got := second.Process(t.Context(), m)
				if skew > 0 {
					if got.Acknowledge || got.Delay < skew || got.Delay > skew+46*time.Second {
						t.Errorf("the second delivery: %+v", got)
					}
				} else if got != acknowledged {
					t.Errorf("the second delivery: %+v", got)
				}
				if o := <-done; o != acknowledged {
					t.Errorf("the first delivery: %+v", o)
				}
				want, value := "SUCCEEDED 1", `"first"`
				if skew < 0 {
					want, value = "SUCCEEDED 2", `"second"`
				}
				if d := right.is(id, want); string(d.ReturnValue) != value {
					t.Errorf("return_value %s, want %s", d.ReturnValue, value)
				}
			})
		})
	}
}
