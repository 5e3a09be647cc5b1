package apitest

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/wait"
)

// Client sends requests to a service.
type Client struct {
	URL  string
	Key  string       // the API key; "" = none
	HTTP *http.Client // nil = one that holds each round trip to the contract
}

// Send sends a request and returns its answer. A body is JSON; headers come in
// pairs, and replace the client's own.
func (c Client) Send(ctx context.Context, method, path, body string, headers ...string) (status int, answer []byte, err error) {
	var sent io.Reader // nil = no body
	if body != "" {
		sent = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, sent)
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := c.HTTP
	if client == nil {
		client = &http.Client{Transport: Transport{}}
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// Document reads the task that an answer must be.
func Document(t testing.TB, status int, answer []byte) task.Document {
	t.Helper()
	var doc task.Document
	if err := json.Unmarshal(answer, &doc); err != nil || status >= 300 {
		t.Fatalf("%d %s: %v", status, answer, err)
	}
	return doc
}

// Finished waits for a task to finish, asking for it by get.
func Finished(t testing.TB, id string, get func(path string) (status int, answer []byte)) task.Document {
	t.Helper()
	for deadline := time.Now().Add(wait.Patience); ; {
		status, answer := get("/v1/tasks/" + id + "?wait=10")
		doc := Document(t, status, answer)
		if doc.IsFinished {
			return doc
		}
		if time.Now().After(deadline) {
			t.Fatalf("the task is still %s", doc.State)
		}
	}
}

// Until polls until done.
func Until(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(wait.Patience); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", wait.Patience, what)
		}
	}
}
