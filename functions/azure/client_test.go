package main_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/apitest"
	"github.com/taskgate/taskgate/core/task"
)

// client is a caller of the API.
type client struct {
	*testing.T
	url, key string
	http     *http.Client
}

func newClient(t *testing.T, url string) *client {
	return &client{t, url, "key-of-alice", &http.Client{Transport: apitest.Transport{}}}
}

func (c *client) send(ctx context.Context, method, path, body string, headers ...string) (int, []byte) {
	c.Helper()
	var sent io.Reader
	if body != "" {
		sent = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, sent)
	if err != nil {
		c.Fatal(err)
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		c.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, answer
}

func (c *client) document(status int, answer []byte) task.Document {
	c.Helper()
	var doc task.Document
	if err := json.Unmarshal(answer, &doc); err != nil || status >= 300 {
		c.Fatalf("%d %s: %v", status, answer, err)
	}
	return doc
}

func (c *client) enqueue(body string, headers ...string) task.Document {
	c.Helper()
	return c.document(c.send(c.Context(), "POST", "/v1/tasks", body, headers...))
}

// finished waits for the task to finish.
func (c *client) finished(id string) task.Document {
	c.Helper()
	for deadline := time.Now().Add(patience); ; {
		doc := c.document(c.send(c.Context(), "GET", "/v1/tasks/"+id+"?wait=10", ""))
		if doc.IsFinished {
			return doc
		}
		if time.Now().After(deadline) {
			c.Fatalf("the task is still %s", doc.State)
		}
	}
}

// until polls until done.
func (c *client) until(what string, done func() bool) {
	c.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(deadline) {
			c.Fatalf("waited %v for %s", patience, what)
		}
	}
}
