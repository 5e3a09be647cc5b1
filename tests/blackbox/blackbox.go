// Package blackbox holds a running taskgate to its whole contract, over HTTP
// alone. It knows the service only by its base URL, and the target by the
// messages that arrive there; what platforms do differently it asks the
// capabilities endpoint. Every request and response is held to openapi.yaml.
package blackbox

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/apitest"
	"github.com/taskgate/taskgate/tests/wait"
)

// Target is a running service.
type Target struct {
	BaseURL string            // no trailing slash
	Front   http.RoundTripper // the front door; nil = http.DefaultTransport

	Key      string // an API key with the scopes enqueue and read; "" = none is needed
	OtherKey string // another caller's; "" = there is only one caller
	Backend  string // the alias to send to; "" = default
	Queue    string // a second queue that queue_name may name; "" = there is none

	// Receive returns the message of the task as its target delivered it. It
	// waits for it until ctx ends, and may be called concurrently.
	Receive func(ctx context.Context, taskID string) (task.Message, error)
}

// Run runs the suite. Its cases share nothing but the service, and run side by side.
func Run(t *testing.T, target Target) {
	caps := capabilities(t, target)
	for name, test := range map[string]func(*client){
		"a task goes through":                     goesThrough,
		"arguments keep their bytes":              keepsBytes,
		"a failed task":                           fails,
		"a task is retried":                       retries,
		"a worker that stalls":                    stalls,
		"reports can be repeated":                 repeats,
		"a dead-lettered task":                    deadLettered,
		"a cancelled task never starts":           cancelsQueued,
		"a running task is asked to stop":         cancelsRunning,
		"an expired task never starts":            expires,
		"a delayed task":                          delays,
		"one key is one task":                     oneKey,
		"many at once with one key":               manyAtOnce,
		"a batch":                                 batches,
		"listing":                                 lists,
		"owners are apart":                        owners,
		"unchanged documents":                     etags,
		"large arguments":                         large,
		"bad input":                               badInput,
		"bad events":                              badEvents,
		"what the target cannot honour":           refuses,
		"health, contract and unknown paths":      edges,
		"a second queue":                          secondQueue,
		"waiting ends when the time is up":        waits,
		"a task of another attempt is not ours":   fenced,
		"metadata, context and trace are carried": carries,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(newClient(t, target, caps))
		})
	}
}

// client is one case's caller and worker.
type client struct {
	*testing.T
	target Target
	caps   task.Capabilities
	http   *http.Client
	name   string // a task_name of this case's own
}

func newClient(t *testing.T, target Target, caps task.Capabilities) *client {
	if target.Backend == "" {
		target.Backend = "default"
	}
	return &client{
		T: t, target: target, caps: caps, name: "task-" + uuid.NewString(),
		http: &http.Client{
			Transport:     apitest.Transport{Base: target.Front},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func capabilities(t *testing.T, target Target) task.Capabilities {
	t.Helper()
	c := newClient(t, target, task.Capabilities{})
	var all struct {
		Backends map[string]task.Capabilities `json:"backends"`
	}
	c.get("/v1/capabilities").into(c, &all)
	caps, ok := all.Backends[c.target.Backend]
	if !ok {
		t.Fatalf("capabilities do not show the backend %q", c.target.Backend)
	}
	return caps
}

// response is a response with its body read.
type response struct {
	*http.Response
	body []byte
}

func (r response) into(c *client, v any) {
	c.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		c.Fatalf("%s: %v", r.body, err)
	}
}

func (r response) document(c *client) task.Document {
	c.Helper()
	var doc task.Document
	r.into(c, &doc)
	return doc
}

// send sends one request; headers come in pairs, and an empty value removes.
func (c *client) send(ctx context.Context, method, path, body string, headers ...string) response {
	c.Helper()
	r, err := apitest.Client{URL: c.target.BaseURL, Key: c.target.Key, HTTP: c.http}.Do(ctx, method, path, body, headers...)
	if err != nil {
		c.Fatalf("%s %s: %v", method, path, err)
	}
	return response{r.Response, r.Body}
}

// want sends a request that keeps the contract, and must be answered so.
func (c *client) want(status int, method, path, body string, headers ...string) response {
	c.Helper()
	r := c.send(c.Context(), method, path, body, headers...)
	if r.StatusCode != status {
		c.Fatalf("%s %s %.300s: %d %s, want %d", method, path, body, r.StatusCode, r.body, status)
	}
	return r
}

func (c *client) get(path string, headers ...string) response {
	c.Helper()
	return c.want(http.StatusOK, "GET", path, "", headers...)
}

// refused sends a request that must be answered with the problem.
func (c *client) refused(status int, code task.Kind, method, path, body string, headers ...string) httpapi.Problem {
	c.Helper()
	r := c.send(apitest.Bad(c.Context()), method, path, body, headers...)
	var p httpapi.Problem
	r.into(c, &p)
	if r.StatusCode != status || p.Code != code || p.Status != status {
		c.Fatalf("%s %s %.300s: %d %s, want %d %s", method, path, body, r.StatusCode, r.body, status, code)
	}
	return p
}

// request returns a request for this case's task; more members may be added,
// each with a comma in front.
func (c *client) request(members ...string) string {
	return fmt.Sprintf(`{"task_name":%q,"backend":%q%s}`, c.name, c.target.Backend, strings.Join(members, ""))
}

func (c *client) enqueue(members ...string) task.Document {
	c.Helper()
	return c.want(http.StatusAccepted, "POST", "/v1/tasks", c.request(members...)).document(c)
}

func (c *client) task(id string) task.Document {
	c.Helper()
	return c.get("/v1/tasks/" + id).document(c)
}

// wantState fails unless the task is in the state.
func (c *client) wantState(id, state string) task.Document {
	c.Helper()
	doc := c.task(id)
	if doc.State != state {
		c.Fatalf("the task is %s, want %s", doc.State, state)
	}
	return doc
}

// until polls until done, within [wait.Patience].
func (c *client) until(what string, done func() bool) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), wait.Patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.Fatalf("waited %v for %s", wait.Patience, what)
		}
	}
}

// list walks a listing of this case's tasks to its end.
func (c *client) list(query string) (docs []task.Document) {
	c.Helper()
	cursor := ""
	for {
		var page struct {
			Items      []task.Document `json:"items"`
			NextCursor *string         `json:"next_cursor"`
		}
		c.get("/v1/tasks?task_name="+c.name+query+cursor).into(c, &page)
		docs = append(docs, page.Items...)
		if page.NextCursor == nil {
			return docs
		}
		cursor = "&cursor=" + *page.NextCursor
	}
}
