package worker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/worker"
)

func TestReportsAreRepeatedUntilTheyAreAnswered(t *testing.T) {
	for name, trouble := range map[string]reply{
		"429":              {status: 429},
		"500":              {status: 500, body: "<html>"},
		"503":              {status: 503, body: `{"code":"unavailable","acknowledge":false}`},
		"a lost answer":    {lost: true},
		"a cut answer":     {status: 200, body: `{"acknowledge":tr`},
		"a silent service": {withheld: make(chan struct{})},
	} {
		for _, event := range []string{task.EventStarted, task.EventSucceeded, task.EventHeartbeat, task.EventProgress} {
			t.Run(name+" to "+event, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					if trouble.withheld != nil { // a channel of this bubble
						trouble.withheld = make(chan struct{})
					}
					s := newService(t, func(n int, e task.Event) reply {
						if e.Type == event && n <= 1 {
							return trouble
						}
						return reply{}
					})
					began := time.Now()
					w := s.worker(t, func(ctx context.Context, tk *worker.Task) (any, error) {
						if err := tk.Progress(ctx, 1, ""); err != nil {
							return nil, err
						}
						return sleeper(29*time.Second-time.Since(began))(ctx, tk)
					})
					want := strings.Replace("started progress heartbeat succeeded", event, event+" "+event, 1)
					if got := w.Process(t.Context(), message()); got != acknowledged || s.events() != want {
						t.Fatalf("outcome %+v after %s", got, s.events())
					}
					ids := map[string]bool{}
					for _, r := range s.requests {
						if r.Type == task.EventStarted {
							ids[r.DeliveryID] = true
						}
					}
					if len(ids) != 1 {
						t.Errorf("a repeated started has another delivery_id: %v", ids)
					}
				})
			})
		}
	}
}

func TestDeliveriesHaveTheirOwnIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, nil)
		w := s.worker(t, three)
		w.Process(t.Context(), message())
		w.Process(t.Context(), message())
		if a, b := s.requests[0].DeliveryID, s.requests[2].DeliveryID; a == b {
			t.Errorf("both are %s", a)
		}
	})
}

func TestRepeatsBackOffAndAreBoundedByTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, func(int, task.Event) reply { return reply{status: 503} })
		if got := s.worker(t, three).Process(t.Context(), message()); got != left {
			t.Errorf("outcome %+v", got)
		}
		n, last := len(s.requests), s.last().after
		if n < 10 || n > 60 || last < 35*time.Second || last > 45*time.Second {
			t.Errorf("%d requests, the last after %v", n, last)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		again  bool
		delay  time.Duration
	}{
		"within the bound": {"7", true, 0},
		"beyond the bound": {"90", false, 90 * time.Second},
		"as a date":        {"Sat, 01 Jan 2000 00:00:08 GMT", true, 0}, // a bubble's clock starts at midnight of that day
		"in the past":      {"Fri, 31 Dec 1999 00:00:00 GMT", true, 0},
		"nonsense":         {"-5", true, 0},
		"far away":         {"86400", false, time.Hour},
		"beyond an int":    {"99999999999999999999", false, time.Hour},
		"of 5,000 digits":  {strings.Repeat("9", 5000), false, time.Hour},
		"a date far away":  {"Fri, 31 Dec 9999 23:59:59 GMT", false, time.Hour},
		"zeros":            {strings.Repeat("0", 30) + "7", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t, func(n int, e task.Event) reply {
					if e.Type == task.EventStarted && n == 1 {
						return reply{status: 429}.retryAfter(c.header)
					}
					return reply{}
				})
				want, events := acknowledged, "started started succeeded"
				if !c.again {
					want, events = worker.Outcome{Delay: c.delay}, "started"
				}
				if got := s.worker(t, three).Process(t.Context(), message()); got != want || s.events() != events {
					t.Fatalf("outcome %+v after %s", got, s.events())
				}
				if c.header == "7" && s.requests[1].after < 7*time.Second {
					t.Errorf("repeated after %v", s.requests[1].after)
				}
			})
		})
	}
}

func TestAResultThatCannotBeReportedIsLeftToTheNextDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, to(task.EventSucceeded, reply{status: 500}))
		if got := s.worker(t, three).Process(t.Context(), message()); got != left {
			t.Errorf("outcome %+v", got)
		}
		if last := s.last().after; last > 45*time.Second {
			t.Errorf("tried for %v", last)
		}
	})
}

func TestTheAnswerToTheLastReportDecides(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		reply reply
		want  worker.Outcome
	}{
		"failed, attempts left":    {errors.New("no"), reply{}, left},
		"failed, and told when":    {errors.New("no"), reply{}.retryAfter("9"), worker.Outcome{Delay: 9 * time.Second}},
		"failed, attempts used up": {errors.New("no"), reply{body: `{"acknowledge":true,"attempt":3}`}, acknowledged},
		"succeeded, but stale":     {nil, problem(409, task.StaleAttempt), left},
		"succeeded, but cancelled": {nil, problem(410, task.Cancelled), acknowledged},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t, func(_ int, e task.Event) reply {
					if e.Type == task.EventStarted {
						return reply{}
					}
					return c.reply
				})
				w := s.worker(t, func(context.Context, *worker.Task) (any, error) { return nil, c.err })
				if got := w.Process(t.Context(), message()); got != c.want || len(s.requests) != 2 {
					t.Errorf("outcome %+v after %s", got, s.events())
				}
			})
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t, func(int, task.Event) reply {
				return reply{status: status, header: map[string]string{"Location": "http://elsewhere.test/"}}
			})
			// Not even for a client that would.
			s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
			if got := s.worker(t, three).Process(t.Context(), message()); got != left || s.events() != "started" {
				t.Errorf("%d: outcome %+v after %s", status, got, s.events())
			}
		})
	}
}

func TestReportsGoToTheConfiguredBaseAlone(t *testing.T) {
	for _, c := range []struct {
		base, url string
		ok        bool
	}{
		{"https://api.test", "https://api.test/v1/tasks/1/events", true},
		{"https://api.test/", "https://api.test/v1/tasks/1/events", true},
		{"https://api.test:443", "https://API.test/v1/tasks/1/events", true},
		{"http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/tasks/1/events", true},
		{"http://[::1]:8080", "http://[::1]:8080/v1/tasks/1/events", true},
		{"https://api.test/stage", "https://api.test/stage/v1", true},
		{"https://api.test/stage", "https://api.test/stages/v1", false},
		{"https://api.test/stage", "https://api.test/stage", false},
		{"https://api.test/stage", "https://api.test/stage/../v1", false},
		{"https://api.test/stage", "https://api.test/stage/%2e%2e/v1", false},
		{"https://api.test/stage", "https://api.test/stage/..%2fv1", false},
		{"https://api.test/stage", "https://api.test/stage/a%2fb", false},
		{"https://api.test/stage", `https://api.test/stage/..\v1`, false},
		{"https://api.test/stage", "https://api.test/stage//v1", false},
		{"https://api.test", "http://api.test/v1", false},
		{"https://api.test", "https://api.test:8443/v1", false},
		{"https://api.test", "https://api.test.evil.test/v1", false},
		{"https://api.test", "https://api.test@evil.test/v1", false},
		{"https://api.test", "https://me:pw@api.test/v1", false},
		{"https://api.test", `https://evil.test\@api.test/v1`, false},
		{"https://api.test", "https://evil.test/?https://api.test/v1", false},
		{"https://api.test", "https://api.test/v1?x=1", false},
		{"https://api.test", "https://api.test/v1#x", false},
		{"https://api.test", "//api.test/v1", false},
		{"https://api.test", "/v1/tasks/1/events", false},
		{"https://api.test", "file:///etc/passwd", false},
		{"https://api.test", "http://169.254.169.254/latest/meta-data", false},
		{"https://api.test", "", false},
	} {
		sent := 0
		refuse := roundTripper(func(*http.Request) (*http.Response, error) {
			sent++
			return &http.Response{StatusCode: 403, Body: http.NoBody}, nil
		})
		w := newWorker(t, worker.Config{
			Handler: worker.HandlerFunc(three), EventsBase: c.base, Client: &http.Client{Transport: refuse},
		})
		d := message(func(m *task.Message) { m.EventsURL = c.url })
		if got := w.Process(t.Context(), d); got != left || (sent == 1) != c.ok {
			t.Errorf("base %s, events_url %s: %d reports, want allowed %t", c.base, c.url, sent, c.ok)
		}
		if got := w.DeadLetter(t.Context(), d); got != left || (sent == 2) != c.ok {
			t.Errorf("base %s, events_url %s: DeadLetter sent a report", c.base, c.url)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAnEndlessAnswerIsNotReadToTheEnd(t *testing.T) {
	read := 0
	endless := roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 409, Body: body(func(p []byte) (int, error) {
			for i := range p {
				p[i] = ' '
			}
			read += len(p)
			return len(p), nil
		})}, nil
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		w := newWorker(t, worker.Config{Handler: worker.HandlerFunc(three), EventsBase: base, Client: &http.Client{Transport: endless}})
		if got := w.Process(ctx, message()); got != left || read > 64<<20 {
			t.Errorf("outcome %+v after %d bytes", got, read)
		}
	})
}

type body func(p []byte) (int, error)

func (b body) Read(p []byte) (int, error) { return b(p) }
func (body) Close() error                 { return nil }

func TestBadSettingsAreRefusedAllAtOnce(t *testing.T) {
	_, err := worker.New(worker.Config{ID: "a\nb", Lease: time.Second})
	for _, word := range []string{"Handler", "EventsBase", "ID", "Lease"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not name %s: %v", word, err)
		}
	}
	for _, base := range []string{"api.test", "ftp://api.test", "https://", "https://u:p@api.test", "https://api.test?x", "https://api.test/%2f", "://",
		"https://api.test\n", "https://api.test/ ", " https://api.test", "https://api.test/\x00", "https://api.test/größe"} {
		if _, err := worker.New(worker.Config{Handler: worker.NewMux(), EventsBase: base}); err == nil {
			t.Errorf("base %q is taken", base)
		}
	}
	for _, lease := range []time.Duration{-1, 4 * time.Second, 5500 * time.Millisecond, time.Hour + time.Second} {
		if _, err := worker.New(worker.Config{Handler: worker.NewMux(), EventsBase: base, Lease: lease}); err == nil {
			t.Errorf("lease %v is taken", lease)
		}
	}
}

func TestOneWorkerRunsManyTasksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, nil)
		w := s.worker(t, sleeper(time.Minute))
		done := make(chan worker.Outcome)
		for i := range 20 {
			go func() {
				done <- w.Process(t.Context(), message(func(m *task.Message) { m.ID = fmt.Sprint(i) }))
			}()
		}
		for range 20 {
			if got := <-done; got != acknowledged {
				t.Errorf("outcome %+v", got)
			}
		}
	})
}
