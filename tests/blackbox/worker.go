package blackbox

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/apitest"
	"github.com/taskgate/taskgate/tests/wait"
)

// worker reports on one task, with nothing but what its message carries.
type worker struct {
	*client
	message task.Message
	path    string
}

// receive waits for the task's message and becomes its worker.
func (c *client) receive(id string) worker {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), wait.Patience)
	defer cancel()
	m, err := c.target.Receive(ctx, id)
	if err != nil {
		c.Fatalf("the message of %s did not arrive: %v", id, err)
	}
	if m.ID != id || m.TaskName != c.name || m.Token == "" {
		c.Fatalf("the message is %+v", m)
	}
	events, err := url.Parse(m.EventsURL)
	if err != nil || events.Path == "" {
		c.Fatalf("events_url %q: %v", m.EventsURL, err)
	}
	return worker{c, m, "/v1/tasks/" + id + "/events"}
}

// reports sends an event that must take effect.
func (w worker) reports(event string, args ...any) task.Answer {
	w.Helper()
	var a task.Answer
	w.want(http.StatusOK, "POST", w.path, fmt.Sprintf(event, args...), w.headers()...).into(w.client, &a)
	return a
}

// isRefused sends an event that must be refused, and acknowledged as given.
func (w worker) isRefused(status int, code task.Kind, acknowledge bool, event string, args ...any) httpapi.Problem {
	w.Helper()
	r := w.send(apitest.Bad(w.Context()), "POST", w.path, fmt.Sprintf(event, args...), w.headers()...)
	var p httpapi.Problem
	r.into(w.client, &p)
	if r.StatusCode != status || p.Code != code || p.Acknowledge == nil || *p.Acknowledge != acknowledge {
		w.Fatalf("%s: %d %s, want %d %s, acknowledge %v", event, r.StatusCode, r.body, status, code, acknowledge)
	}
	if code == task.LeaseHeld && r.Header.Get("Retry-After") == "" {
		w.Error("lease-held without Retry-After")
	}
	return p
}

func (w worker) headers() []string {
	return []string{"Taskgate-Token", w.message.Token, "Authorization", ""}
}

// The events of a worker, as JSON.
const (
	started   = `{"type":"started","worker_id":"blackbox","delivery_id":%q,"lease_seconds":30}`
	heartbeat = `{"type":"heartbeat","attempt":%d}`
	progress  = `{"type":"progress","attempt":%d,"progress":{"fraction":0.5,"message":"half"}}`
	succeeded = `{"type":"succeeded","attempt":%d,"return_value":%s}`
	retryable = `{"type":"failed","attempt":%d,"error":{"exception_class_path":"builtins.ValueError","traceback":"boom"},"retryable":true}`
	failed    = `{"type":"failed","attempt":%d,"error":{"exception_class_path":"builtins.ValueError","traceback":"boom"}}`
	cancelled = `{"type":"cancelled","attempt":%d}`
	dead      = `{"type":"dead_lettered"}`
)
