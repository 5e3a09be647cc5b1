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

// Response is an answer whose body has been read.
type Response struct {
	*http.Response
	Body []byte
}

// Do sends a request and reads its answer. A body is JSON. Headers come in pairs and
// replace the client's own; an empty value removes one.
func (c Client) Do(ctx context.Context, method, path, body string, headers ...string) (Response, error) {
	var sent io.Reader // nil = no body
	if body != "" {
		sent = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, sent)
	if err != nil {
		return Response{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Key != "" {
		req.Header.Set("Authorization", "Bearer "+c.Key)
	}
	for i := 0; i < len(headers); i += 2 {
		if req.Header.Set(headers[i], headers[i+1]); headers[i+1] == "" {
			req.Header.Del(headers[i])
		}
	}
	client := c.HTTP
	if client == nil {
		client = &http.Client{Transport: Transport{}}
	}
	resp, err := client.Do(req)
	if err != nil {
		return Response{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return Response{resp, b}, err
}

// Send does what Do does, and returns the status and the body of the answer.
func (c Client) Send(ctx context.Context, method, path, body string, headers ...string) (status int, answer []byte, err error) {
	r, err := c.Do(ctx, method, path, body, headers...)
	if r.Response == nil {
		return 0, nil, err
	}
	return r.StatusCode, r.Body, err
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
