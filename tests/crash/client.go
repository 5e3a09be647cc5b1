package crash

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/apitest"
	"github.com/taskgate/taskgate/tests/wait"
)

// Client calls the API as any application does: it knows nothing about the
// service's insides, and obeys Retry-After.
type Client struct {
	URL string // no trailing slash
	Key string // "" = none is needed
}

type answer struct {
	status     int
	body       []byte
	retryAfter time.Duration
	replayed   bool
}

func (c Client) send(ctx context.Context, method, path, body, key string) (answer, error) {
	client := apitest.Client{URL: c.URL, Key: c.Key, HTTP: http.DefaultClient} // a killed service answers nothing
	r, err := client.Do(ctx, method, path, body, "Idempotency-Key", key)
	if err != nil {
		return answer{}, err
	}
	seconds, _ := strconv.Atoi(r.Header.Get("Retry-After"))
	return answer{
		r.StatusCode, r.Body, time.Duration(seconds) * time.Second, r.Header.Get("Idempotent-Replayed") == "true",
	}, nil
}

func (c Client) enqueue(ctx context.Context, members string, of *cell) (answer, error) {
	return c.send(ctx, "POST", "/v1/tasks", fmt.Sprintf(`{"task_name":"echo","args":[%q],%s}`, of.args, members), of.key)
}

// took stores the answer to an accepted request in its cell.
func (s *Service) took(c *cell, a answer) error {
	var doc task.Document
	if err := json.Unmarshal(a.body, &doc); err != nil {
		return err
	}
	c.id, c.replayed = doc.ID, a.replayed
	if want := task.KeyedID(s.Owner, c.key); c.key != "" && c.id != want {
		return fmt.Errorf("the task is %s, want %s", c.id, want)
	}
	return nil
}

// repeated sends a request again with its key until it is accepted. The service
// may tell it to wait only while the killed request may still be dispatching.
func (s *Service) repeated(ctx context.Context, c *cell) error {
	ctx, cancel := context.WithTimeout(ctx, wait.Patience)
	defer cancel()
	for {
		a, err := s.Client.enqueue(ctx, s.Targets[c.target], c)
		switch {
		case err != nil:
			return err
		case a.status == http.StatusAccepted:
			return s.took(c, a)
		case a.status != http.StatusConflict || a.retryAfter <= 0 || a.retryAfter > s.MaxInFlight:
			return fmt.Errorf("repeated: %d, Retry-After %v: %s", a.status, a.retryAfter, a.body)
		}
		again := time.NewTimer(a.retryAfter)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return fmt.Errorf("still in flight: %s", a.body)
		}
	}
}

// runs waits until the task has finished.
func (s *Service) runs(ctx context.Context, c *cell) error {
	for deadline := time.Now().Add(wait.Patience); ; {
		a, err := s.Client.send(ctx, "GET", "/v1/tasks/"+c.id+"?wait=10", "", "")
		if err != nil || a.status != http.StatusOK {
			return fmt.Errorf("get: %d %s, %v", a.status, a.body, err)
		}
		var doc task.Document
		if err := json.Unmarshal(a.body, &doc); err != nil || doc.IsFinished {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("lost: it is still %s after %d attempts", doc.State, doc.Attempts)
		}
	}
}

func (c Client) list(ctx context.Context) (docs []task.Document, err error) {
	for cursor := ""; ; {
		a, err := c.send(ctx, "GET", "/v1/tasks?limit=100"+cursor, "", "")
		if err != nil || a.status != http.StatusOK {
			return nil, fmt.Errorf("list: %d %s, %v", a.status, a.body, err)
		}
		var page struct {
			Items      []task.Document `json:"items"`
			NextCursor *string         `json:"next_cursor"`
		}
		if err := json.Unmarshal(a.body, &page); err != nil {
			return nil, err
		}
		docs = append(docs, page.Items...)
		if page.NextCursor == nil {
			return docs, nil
		}
		cursor = "&cursor=" + *page.NextCursor
	}
}
