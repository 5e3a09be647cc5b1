package histories

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
)

// fate says what happens to the answer of an operation.
type fate struct {
	unread bool          // it is thrown away
	hangUp time.Duration // the client hangs up after so long; 0 = it does not
}

// errNotThere means that the service was not running, and no request was made.
var errNotThere = errors.New("the service is not there")

// send makes one request as soon as the service runs, and records the times.
func (h *history) send(ctx context.Context, c call, f fate) (call, answer, error) {
	for {
		c.from = time.Since(h.epoch)
		a, err := h.do(ctx, c, f)
		c.to = time.Since(h.epoch)
		if !errors.Is(err, errNotThere) {
			return c, a, err
		}
		again := time.NewTimer(5 * time.Millisecond)
		select {
		case <-again.C:
		case <-ctx.Done():
			return c, a, ctx.Err()
		}
	}
}

// do makes one request and records the answer. An error means that the service
// does not run, or that its answer breaks the contract.
func (h *history) do(ctx context.Context, c call, f fate) (answer, error) {
	run := ctx
	if f.hangUp > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.hangUp)
		defer cancel()
	}
	req, err := h.request(ctx, c)
	if err != nil {
		return answer{}, err
	}
	resp, err := h.target.Client.Do(req)
	if h.target.Killed && errors.Is(err, syscall.ECONNREFUSED) {
		return answer{}, errNotThere
	}
	var body []byte
	if err == nil {
		body, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	switch {
	case err != nil && run.Err() != nil:
		return answer{}, run.Err()
	case err != nil && (f.hangUp > 0 || h.target.Killed):
		return answer{lost: true}, nil
	case err != nil:
		return answer{}, err
	case f.unread || resp.StatusCode == http.StatusServiceUnavailable:
		return answer{lost: true}, nil
	}
	a, err := h.read(c, resp, body)
	if err != nil {
		err = fmt.Errorf("%v: %d %s: %w", c, resp.StatusCode, body, err)
	}
	return a, err
}

func (h *history) request(ctx context.Context, c call) (*http.Request, error) {
	method, path, body := http.MethodPost, "/v1/tasks/"+c.id, ""
	switch c.kind {
	case enqueue:
		path, body = "/v1/tasks", h.task(c)
	case get:
		method = http.MethodGet
	case cancel:
		path += "/cancel"
	default:
		path, body = path+"/events", c.event()
	}
	req, err := http.NewRequestWithContext(ctx, method, h.target.BaseURL+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body == "" {
		req.Body = http.NoBody
	} else {
		req.Header.Set("Content-Type", "application/json")
	}
	req.GetBody = nil // net/http is not to repeat a request of its own accord
	if c.kind == enqueue && c.keyed {
		req.Header.Set("Idempotency-Key", h.key)
	}
	if strings.HasSuffix(path, "/events") {
		req.Header.Set("Taskgate-Token", h.token)
	}
	return req, nil
}

// task is the body of an enqueue.
func (h *history) task(c call) string {
	limit := ""
	if c.limit > 0 {
		limit = fmt.Sprintf(`,"max_attempts":%d`, c.limit)
	}
	return fmt.Sprintf(`{"task_name":"history","args":[%d]%s%s}`, c.request, limit, h.target.Members)
}

// event is the body of a worker's report.
func (c call) event() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"type":%q`, c.kind)
	switch c.kind {
	case started:
		fmt.Fprintf(&b, `,"worker_id":%q,"delivery_id":"%d"`, workerID(c.delivery), c.delivery)
	case deadLettered:
	default:
		fmt.Fprintf(&b, `,"attempt":%d`, c.attempt)
	}
	if c.lease > 0 {
		fmt.Fprintf(&b, `,"lease_seconds":%d`, int(c.lease.Seconds()))
	}
	switch c.kind {
	case progress:
		fmt.Fprintf(&b, `,"progress":{"fraction":0.5,"message":"%d"}`, c.value)
	case succeeded:
		fmt.Fprintf(&b, `,"return_value":%d`, c.value)
	case failed:
		fmt.Fprintf(&b, `,"error":{"exception_class_path":"builtins.ValueError","traceback":"boom"},"retryable":%t`, c.retry)
	}
	b.WriteByte('}')
	return b.String()
}

// read takes the members of a response that the model compares.
func (h *history) read(c call, resp *http.Response, body []byte) (answer, error) {
	a := answer{status: resp.StatusCode, replayed: resp.Header.Get("Idempotent-Replayed") == "true"}
	var err error
	switch {
	case a.status >= 300:
		var problem struct {
			Code        string `json:"code"`
			Acknowledge *bool  `json:"acknowledge"`
		}
		err = json.Unmarshal(body, &problem)
		a.code, a.acknowledge = problem.Code, problem.Acknowledge
	case c.kind == enqueue || c.kind == get:
		a.doc = &document{}
		err = json.Unmarshal(body, a.doc)
	case c.kind == cancel:
		var cancelled struct {
			Outcome string    `json:"outcome"`
			Task    *document `json:"task"`
		}
		err = json.Unmarshal(body, &cancelled)
		a.outcome, a.doc = cancelled.Outcome, cancelled.Task
	default:
		var event struct {
			Acknowledge     *bool      `json:"acknowledge"`
			Attempt         int        `json:"attempt"`
			LeaseUntil      *time.Time `json:"lease_until"`
			CancelRequested bool       `json:"cancel_requested"`
			Task            *document  `json:"task"`
		}
		err = json.Unmarshal(body, &event)
		a.acknowledge, a.attempt, a.asked, a.doc = event.Acknowledge, event.Attempt, event.CancelRequested, event.Task
		if err == nil && event.Acknowledge == nil {
			err = errors.New("no acknowledge")
		}
		if event.LeaseUntil != nil {
			a.lease = event.LeaseUntil.Sub(h.epoch)
		}
	}
	return a, err
}
