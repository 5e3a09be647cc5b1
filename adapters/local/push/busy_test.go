package push_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/adapters/local/push"
	"github.com/taskgate/taskgate/core/task"
)

// crew is a worker with some slots. Whatever it has no slot for it refuses as
// busy, at once.
type crew struct {
	db         *embedded.DB
	took       time.Duration // by one task
	events     bool          // it reports that attempts start
	retryAfter time.Duration
	tasks      int // of the test; 0 = 200

	mu       sync.Mutex
	free     int
	running  int
	most     int            // that ran at once
	handled  map[string]int // id → how often
	refusals int
	counts   []int // the delivery counts that the handler saw
}

func (c *crew) Deliver(ctx context.Context, d embedded.Delivery) (push.Outcome, error) {
	if !c.enter(d) {
		return push.Outcome{Busy: true, Delay: c.retryAfter}, errors.New("busy")
	}
	defer c.leave()
	if c.events {
		if err := report(ctx, c.db, d.ID, task.MoveStarted, time.Hour); err != nil {
			return push.Outcome{}, err
		}
	}
	time.Sleep(c.took) // the bubble's clock
	return push.Outcome{Acknowledge: true}, nil
}

func (c *crew) enter(d embedded.Delivery) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.free == 0 {
		c.refusals++
		return false
	}
	c.free--
	c.running++
	c.most = max(c.most, c.running)
	c.handled[d.ID]++
	c.counts = append(c.counts, d.Count)
	return true
}

func (c *crew) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free++
	c.running--
}

func (c *crew) ran() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, times := range c.handled {
		n += times
	}
	return n
}

// report moves the task's message as an event does.
func report(ctx context.Context, db *embedded.DB, id string, m task.Move, lease time.Duration) error {
	r, err := db.Get(ctx, id)
	if err != nil {
		return err
	}
	r.Status, r.LeaseUntil = task.Running, task.At(time.Now().Add(lease))
	return db.ReplaceAndMove(ctx, r, m)
}

// site is a database with a pusher on it.
type site struct {
	*testing.T
	db    *embedded.DB
	queue *embedded.Dispatcher
	stop  func()
}

func newSite(t *testing.T, worker func(*embedded.DB) push.Deliverer) *site {
	db, err := embedded.Open("data", embedded.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{T: t, db: db, queue: db.Dispatcher("default", embedded.DispatcherOptions{MaxDeliveries: 3})}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	p := push.Pusher{DB: db, Worker: worker(db), DeadLetters: worker(db), Log: slog.New(slog.DiscardHandler)}
	go func() { ended <- p.Run(ctx) }()
	s.stop = func() {
		cancel()
		if err := errors.Join(<-ended, db.Close()); err != nil {
			t.Error(err)
		}
	}
	return s
}

// enqueue creates n tasks and their messages.
func (s *site) enqueue(n int) (ids []string) {
	s.Helper()
	entries := make([]task.Entry, n)
	for i := range entries {
		id, now := task.NewID(), task.At(time.Now())
		ids = append(ids, id)
		entries[i] = task.Entry{
			Record:  &task.Record{ID: id, Status: task.Ready, EnqueuedAt: now, DeleteAfter: now.Plus(1000 * time.Hour)},
			Message: task.Outgoing{ID: id, Queue: "mail", Body: []byte(`{}`)},
		}
	}
	for _, r := range s.queue.CreateAndDispatch(s.Context(), entries) {
		if r.Err != nil {
			s.Fatal(r.Err)
		}
	}
	return ids
}

func (s *site) deadLetters() int {
	s.Helper()
	letters, err := s.db.DeadLetters(s.Context(), embedded.DeadLetter{}, 100)
	if err != nil {
		s.Fatal(err)
	}
	return len(letters)
}

func TestBusyWorkerRunsEachTaskOnceAndLosesNone(t *testing.T) {
	for name, c := range map[string]*crew{
		"without Retry-After":             {free: 1, took: time.Second},
		"with Retry-After":                {free: 1, took: time.Second, retryAfter: time.Second},
		"with events":                     {free: 1, took: time.Second, events: true},
		"with events and Retry-After":     {free: 1, took: time.Second, events: true, retryAfter: time.Second},
		"of ten slots":                    {free: 10, took: time.Second, events: true},
		"of ten slots, with no events":    {free: 10, took: 3 * time.Second},
		"with tasks that take no time":    {free: 1},
		"with tasks that take 10 minutes": {free: 1, took: 10 * time.Minute, events: true, tasks: 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.handled = map[string]int{}
				tasks, slots := cmp.Or(c.tasks, 200), c.free
				s := newSite(t, func(db *embedded.DB) push.Deliverer { c.db = db; return c })
				defer s.stop()
				ids := s.enqueue(tasks)
				ideal := time.Duration(tasks/slots) * c.took
				time.Sleep(ideal*3/2 + time.Minute)
				synctest.Wait() // what the pushes wrote can be read from here on
				for _, id := range ids {
					if c.handled[id] != 1 {
						t.Fatalf("after %v (ideal: %v) %d tasks ran, one of them %d times", ideal*3/2+time.Minute, ideal, c.ran(), c.handled[id])
					}
				}
				for _, count := range c.counts {
					if count != 1 {
						t.Errorf("the handler was given delivery %d", count)
					}
				}
				if n := s.deadLetters(); n > 0 {
					t.Errorf("%d dead letters", n)
				}
				t.Logf("%d refusals", c.refusals)
			})
		})
	}
}

func TestPaceRecoversWhenTheWorkerAccepts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crew{took: time.Hour, events: true, handled: map[string]int{}}
		s := newSite(t, func(db *embedded.DB) push.Deliverer { c.db = db; return c })
		defer s.stop()
		s.enqueue(200)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if c.refusals > 10*60*3/2+push.DefaultConcurrency {
			t.Errorf("%d refusals in 10 minutes", c.refusals)
		}
		c.mu.Lock()
		c.free = 1000
		c.mu.Unlock()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if c.most != push.DefaultConcurrency {
			t.Errorf("%d pushes run at once, 3 s after the worker has room", c.most)
		}
		time.Sleep(5 * time.Hour) // so that none runs at the end
	})
}

func TestBusyAnswersDoNotCountForASingleMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crew{handled: map[string]int{}}
		s := newSite(t, func(db *embedded.DB) push.Deliverer { c.db = db; return c })
		defer s.stop()
		s.enqueue(1)
		time.Sleep(10 * time.Minute)
		c.mu.Lock()
		c.free = 1
		c.mu.Unlock()
		time.Sleep(3 * time.Second)
		if c.ran() != 1 || c.counts[0] != 1 || s.deadLetters() > 0 {
			t.Errorf("ran %d times, delivery %v; %d dead letters", c.ran(), c.counts, s.deadLetters())
		}
	})
}

// picky takes every message but one.
type picky struct {
	refused chan embedded.Delivery
	id      string
}

func (p *picky) Deliver(_ context.Context, d embedded.Delivery) (push.Outcome, error) {
	if d.ID == p.id && !d.Dead {
		p.refused <- d
		return push.Outcome{Busy: true}, errors.New("never this one")
	}
	return push.Outcome{Acknowledge: true}, nil
}

func TestManyRefusalsOfOneMessageCountAsDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &picky{refused: make(chan embedded.Delivery)}
		s := newSite(t, func(*embedded.DB) push.Deliverer { return p })
		defer s.stop()
		p.id = "00000000-0000-8000-8000-000000000000"
		if _, err := s.queue.Dispatch(t.Context(), task.Outgoing{ID: p.id, Queue: "mail", Body: []byte(`{}`)}); err != nil {
			t.Fatal(err)
		}
		uncounted, counted := 0, 0
		for s.deadLetters() == 0 && uncounted < 200 {
			select {
			case d := <-p.refused:
				if d.Count == 1 {
					uncounted++
				} else {
					counted++
				}
				s.enqueue(1) // another, which is taken before the next refusal
			case <-time.After(time.Minute):
				t.Fatalf("no push for a minute, after %d and %d refusals", uncounted, counted)
			}
			synctest.Wait()
		}
		if uncounted < 100 || uncounted > 120 || counted != 2 {
			t.Errorf("%d refusals as delivery 1, then %d deliveries; want 100 and a little, then 2", uncounted, counted)
		}
	})
}

// pipes is a listener whose connections are in memory, so that they are in the
// bubble of a test's clock.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { close(p); return nil } // once: http.Server sees to it
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// served is an HTTP deliverer to a handler in this process, until stop is called.
func served(h http.Handler) (worker *push.HTTP, stop func()) {
	conns := make(pipes)
	server := &http.Server{Handler: h}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(conns) }()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		conns <- theirs
		return ours, nil
	}}
	return push.NewHTTP(&http.Client{Transport: transport}, "http://worker/", 0), func() {
		transport.CloseIdleConnections()
		server.Close()
		<-ended
	}
}

func TestPushLastsAsLongAsItsLeaseIsExtended(t *testing.T) {
	for name, c := range map[string]struct {
		beats  int // heartbeats, 15 s apart
		answer bool
		pushes int
	}{
		"640 s with heartbeats":        {42, true, 1},
		"two hours with heartbeats":    {480, true, 1},
		"heartbeats that end at 900 s": {60, false, 3},
		"a worker that is silent":      {0, false, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var db *embedded.DB
				var mu sync.Mutex
				var at []time.Duration
				began := time.Now()
				handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body) // the server then notices that the client hangs up
					mu.Lock()
					at = append(at, time.Since(began))
					first := len(at) == 1
					mu.Unlock()
					id := r.Header.Get("Taskgate-Task-Id")
					if first {
						for i := range c.beats {
							m := task.MoveLeased
							if i == 0 {
								m = task.MoveStarted
							}
							if err := report(context.Background(), db, id, m, 45*time.Second); err != nil {
								t.Error(err)
							}
							time.Sleep(15 * time.Second)
						}
					}
					if !c.answer {
						<-r.Context().Done()
						return
					}
					w.WriteHeader(http.StatusNoContent)
				})
				worker, stop := served(handler)
				defer stop()
				s := newSite(t, func(d *embedded.DB) push.Deliverer { db = d; return worker })
				defer s.stop()
				id := s.enqueueAs("t")
				time.Sleep(3 * time.Hour)
				mu.Lock()
				defer mu.Unlock()
				if len(at) < c.pushes || c.pushes == 1 && len(at) != 1 {
					t.Fatalf("pushes at %v, want %d", at, c.pushes)
				}
				if c.beats == 60 && (at[1] < 930*time.Second || at[1] > 935*time.Second) {
					t.Errorf("the push of %s was cut after %v; its lease ended after 930 s", id, at[1])
				}
			})
		})
	}
}

// enqueueAs creates one task whose message carries its id.
func (s *site) enqueueAs(name string) string {
	s.Helper()
	id, now := task.NewID(), task.At(time.Now())
	e := task.Entry{
		Record: &task.Record{ID: id, Status: task.Ready, EnqueuedAt: now, DeleteAfter: now.Plus(1000 * time.Hour)},
		Message: task.Outgoing{ID: id, Queue: "mail", Body: []byte(`{}`),
			Attributes: map[string]string{task.AttributeTaskID: id, task.AttributeTaskName: name}},
	}
	if r := s.queue.CreateAndDispatch(s.Context(), []task.Entry{e})[0]; r.Err != nil {
		s.Fatal(r.Err)
	}
	return id
}
