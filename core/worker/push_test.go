package worker_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/worker"
)

func TestAPushIsAnsweredWithWhatToDo(t *testing.T) {
	plain := `{"task_name":"add","args":[],"kwargs":{}}`
	envelope := `{"id":"` + id + `","v":1,"events_url":"` + base + `/e","token":"` + token + `"}`
	for name, c := range map[string]struct {
		method, body, envelope string
		reply                  reply // to started
		status                 int
		retryAfter             string
	}{
		"acknowledged":       {"POST", string(message().Body), "", reply{}, 204, ""},
		"a plain payload":    {"POST", plain, envelope, reply{}, 204, ""},
		"without its rest":   {"POST", plain, "", reply{}, 500, ""},
		"lease-held":         {"POST", string(message().Body), "", problem(409, task.LeaseHeld).retryAfter("17"), 500, "17"},
		"unknown":            {"POST", string(message().Body), "", problem(404, task.UnknownTask), 500, ""},
		"too large":          {"POST", strings.Repeat(" ", 5<<20), "", reply{}, 500, ""},
		"not a push":         {"GET", "", "", reply{}, 405, ""},
		"a fraction, by 503": {"POST", string(message().Body), "", reply{status: 503}.retryAfter("Sat, 01 Jan 2000 00:01:00 GMT"), 500, "60"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t, to(task.EventStarted, c.reply))
				time.Sleep(time.Millisecond / 2) // the bubble's clock: no date is whole seconds away
				r := httptest.NewRequest(c.method, "/", strings.NewReader(c.body))
				if c.envelope != "" {
					r.Header.Set(worker.EnvelopeHeader, c.envelope)
				}
				res := httptest.NewRecorder()
				s.worker(t, three).PushHandler(t.Context()).ServeHTTP(res, r)
				if res.Code != c.status || res.Header().Get("Retry-After") != c.retryAfter {
					t.Errorf("%d, Retry-After %q", res.Code, res.Header().Get("Retry-After"))
				}
			})
		})
	}
}

// TestAStoppingWorkerTakesNoPush: 503 means that this was no delivery, so no
// event may have been sent.
func TestAStoppingWorkerTakesNoPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, nil)
		stop, cancel := context.WithCancel(t.Context())
		cancel()
		res := httptest.NewRecorder()
		s.worker(t, three).PushHandler(stop).ServeHTTP(res, httptest.NewRequest("POST", "/", strings.NewReader(string(message().Body))))
		if res.Code != 503 || s.events() != "" {
			t.Errorf("answered %d after %q", res.Code, s.events())
		}
	})
}

func TestATaskOutlivesItsPusherButNotItsWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, nil)
		w := s.worker(t, sleeper(time.Hour))
		stop, stopNow := context.WithCancel(t.Context())
		pusher, hangUp := context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(pusher, "POST", "/", strings.NewReader(string(message().Body)))
		res, done := httptest.NewRecorder(), make(chan struct{})
		go func() {
			defer close(done)
			w.PushHandler(stop).ServeHTTP(res, r)
		}()
		hangUp()
		time.Sleep(time.Minute) // the bubble's clock
		if got := s.events(); got != "started heartbeat heartbeat heartbeat" && got != "started heartbeat heartbeat heartbeat heartbeat" {
			t.Errorf("after the pusher left: %s", got)
		}
		stopNow()
		<-done
		if s.last().Type != task.EventFailed || !s.last().Retryable || res.Code != 500 {
			t.Errorf("stopped: %+v, answered %d", s.last().Event, res.Code)
		}
	})
}
