// Command smoke tries a deployed taskgate: it enqueues one task, waits for its
// result, and looks it up. Its settings are environment variables, so that the key
// is in no list of processes:
//
//	URL      the service's base URL
//	KEY      an API key with the scopes enqueue and read, or a JWT
//	TASK     the task as JSON; empty = {"task_name": "add", "args": [1, 2]}, which
//	         the example workers know
//	TIMEOUT  how long the task may take, as a Go duration; empty = 2m
//
// It exits with 1 and says what is wrong unless the task is SUCCESSFUL in time.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	exampleTask    = `{"task_name": "add", "args": [1, 2]}`
	exampleResult  = "3"
	defaultTimeout = 2 * time.Minute
	maxResponse    = 4 << 20 // bytes; the result document holds the task's arguments
)

func main() {
	if err := run(os.Getenv); err != nil {
		fmt.Fprintln(os.Stderr, "smoke:", err)
		os.Exit(1)
	}
}

// client calls the API with one key.
type client struct {
	base, key string
	http      *http.Client
}

// task is the part of the result document that is checked here.
type task struct {
	ID          string          `json:"id"`
	Status      string          `json:"status"`
	State       string          `json:"state"`
	IsFinished  bool            `json:"is_finished"`
	ReturnValue json.RawMessage `json:"return_value"`
	Errors      json.RawMessage `json:"errors"`
}

func run(getenv func(string) string) error {
	c, body, timeout, err := readSettings(getenv)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()

	if err := c.send(ctx, http.MethodGet, "/healthz", nil, nil, http.StatusOK, nil); err != nil {
		return err
	}
	fmt.Println("the service answers")
	stranger := client{base: c.base, http: c.http}
	err = stranger.send(ctx, http.MethodGet, "/v1/capabilities", nil, nil, http.StatusUnauthorized, nil)
	if answer := (*answerError)(nil); err != nil && !(errors.As(err, &answer) && answer.status == http.StatusForbidden) { // a function URL's 403
		return fmt.Errorf("without a key: %w", err)
	}
	fmt.Println("it refuses a caller without a key")

	var t task
	if err := c.enqueue(ctx, body, &t); err != nil {
		return err
	}
	fmt.Println("task", t.ID, "is enqueued")
	for !t.IsFinished {
		if err := c.get(ctx, t.ID, "?wait=20", &t); err != nil {
			return fmt.Errorf("task %s is %s: %w", t.ID, t.State, err)
		}
	}
	if t.Status != "SUCCESSFUL" {
		return fmt.Errorf("task %s is %s: %s", t.ID, t.State, t.Errors)
	}
	if body == exampleTask && string(t.ReturnValue) != exampleResult {
		return fmt.Errorf("task %s returned %s, want %s", t.ID, t.ReturnValue, exampleResult)
	}
	var again task
	if err := c.get(ctx, t.ID, "", &again); err != nil {
		return err
	}
	if again.Status != t.Status || !bytes.Equal(again.ReturnValue, t.ReturnValue) {
		return fmt.Errorf("task %s is %s at the second look-up", t.ID, again.State)
	}
	fmt.Println("it is SUCCESSFUL and returned", string(t.ReturnValue))
	return nil
}

// readSettings reads the settings. No error holds the key.
func readSettings(getenv func(string) string) (c client, body string, timeout time.Duration, err error) {
	var errs []error
	base, err := url.Parse(getenv("URL"))
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.RawQuery != "" || base.User != nil {
		errs = append(errs, errors.New("URL must be the service's base URL, such as https://tasks.example.com"))
	}
	key := strings.TrimSpace(getenv("KEY"))
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		errs = append(errs, errors.New("KEY must be an API key; make key prints one"))
	}
	if body = getenv("TASK"); body == "" {
		body = exampleTask
	} else if !json.Valid([]byte(body)) {
		errs = append(errs, errors.New("TASK must be JSON"))
	}
	timeout = defaultTimeout
	if given := getenv("TIMEOUT"); given != "" {
		if timeout, err = time.ParseDuration(given); err != nil || timeout <= 0 {
			errs = append(errs, errors.New("TIMEOUT must be a duration, such as 2m"))
		}
	}
	c = client{base: strings.TrimRight(getenv("URL"), "/"), key: key, http: &http.Client{
		// The API never redirects, and the key must not go elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	return c, body, timeout, errors.Join(errs...)
}

// enqueue sends the task. Repeating it with the same key is safe, so it repeats what
// the service could not do now.
func (c client) enqueue(ctx context.Context, body string, t *task) error {
	header := http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {uuid.NewString()}}
	for attempt := 1; ; attempt++ {
		err := c.send(ctx, http.MethodPost, "/v1/tasks", header, []byte(body), http.StatusAccepted, t)
		if answer := (*answerError)(nil); !errors.As(err, &answer) || attempt == 3 || answer.status != http.StatusServiceUnavailable && answer.status != http.StatusConflict {
			return err
		}
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return err
		}
	}
}

func (c client) get(ctx context.Context, id, query string, t *task) error {
	*t = task{ID: id, State: t.State}
	return c.send(ctx, http.MethodGet, "/v1/tasks/"+url.PathEscape(id)+query, nil, nil, http.StatusOK, t)
}

// answerError is an answer with another status than the wanted one.
type answerError struct {
	request string
	status  int
	body    string
}

func (e *answerError) Error() string {
	return fmt.Sprintf("%s was answered %d: %s", e.request, e.status, e.body)
}

// send makes a request. It decodes an answer with the wanted status, unless into is
// nil, and returns any other answer as an answerError.
func (c client) send(ctx context.Context, method, path string, header http.Header, body []byte, status int, into *task) error {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	request.Header = header.Clone()
	if request.Header == nil {
		request.Header = http.Header{}
	}
	if c.key != "" {
		request.Header.Set("Authorization", "Bearer "+c.key)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err // names the method and the URL
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if response.StatusCode != status {
		return &answerError{request: method + " " + path, status: response.StatusCode, body: strings.TrimSpace(string(text[:min(len(text), 1000)]))}
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}
