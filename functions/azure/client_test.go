package main_test

import (
	"context"
	"testing"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/apitest"
)

// client is a caller of the API.
type client struct {
	*testing.T
	apitest.Client
}

func newClient(t *testing.T, url string) *client {
	return &client{t, apitest.Client{URL: url, Key: "key-of-alice"}}
}

func (c *client) send(ctx context.Context, method, path, body string, headers ...string) (int, []byte) {
	c.Helper()
	status, answer, err := c.Send(ctx, method, path, body, headers...)
	if err != nil {
		c.Fatalf("%s %s: %v", method, path, err)
	}
	return status, answer
}

func (c *client) document(status int, answer []byte) task.Document {
	c.Helper()
	return apitest.Document(c, status, answer)
}

func (c *client) enqueue(body string, headers ...string) task.Document {
	c.Helper()
	return c.document(c.send(c.Context(), "POST", "/v1/tasks", body, headers...))
}

// finished waits for the task to finish.
func (c *client) finished(id string) task.Document {
	c.Helper()
	return apitest.Finished(c, id, func(path string) (int, []byte) { return c.send(c.Context(), "GET", path, "") })
}

// until polls until done.
func (c *client) until(what string, done func() bool) {
	c.Helper()
	apitest.Until(c, what, done)
}
