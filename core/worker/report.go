package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/task"
)

const (
	tryTimeout = 10 * time.Second       // of one POST
	firstWait  = 100 * time.Millisecond // before the second POST of an event; doubled from then on
	longWait   = 5 * time.Second        // the longest such wait
	maxRetry   = time.Hour              // a longer Retry-After is cut to it: no lease is longer
	maxAnswer  = 16 << 20               // bytes; more than twice the largest task
)

// reporter sends the events of one task.
type reporter struct {
	client *http.Client
	url    string
	header http.Header
}

func newReporter(client *http.Client, m task.Message) reporter {
	h := http.Header{"Content-Type": {"application/json"}, "Taskgate-Token": {m.Token}}
	for name, value := range map[string]string{"Traceparent": m.Traceparent, "Tracestate": m.Tracestate} {
		if value != "" && printable(value) {
			h.Set(name, value)
		}
	}
	return reporter{client, m.EventsURL, h}
}

// answer holds the members of a [task.Answer] or of a problem that a worker needs.
// The task itself is left out: a worker must not fail over a member that it never
// reads.
type answer struct {
	Acknowledge     bool           `json:"acknowledge"`
	Attempt         int            `json:"attempt"`
	CancelRequested bool           `json:"cancel_requested"`
	Args            jsontext.Value `json:"args"`
	Kwargs          jsontext.Value `json:"kwargs"`
	Code            task.Kind      `json:"code"`   // of a problem
	Detail          string         `json:"detail"` // of a problem

	status     int
	retryAfter time.Duration
}

// outcome is what the answer says about the message.
func (a answer) outcome() Outcome {
	if a.Acknowledge {
		return Outcome{Acknowledge: true}
	}
	return Outcome{Delay: a.retryAfter}
}

// err returns the problem that the answer is, or nil.
func (a answer) err() error {
	if a.status == http.StatusOK {
		return nil
	}
	return fmt.Errorf("answered %d %s %s", a.status, a.Code, a.Detail)
}

// send POSTs an event until the answer is final. It repeats the event after a
// network error, 429 and 5xx, until the bound or ctx ends. Every event may be
// repeated: the service answers 200 if the event already took effect. With an
// error, the answer still holds the last Retry-After.
func (r reporter) send(ctx context.Context, e task.Event, bound time.Duration) (answer, error) {
	body, err := json.Marshal(e, jsontext.PreserveRawStrings(true))
	if err != nil {
		return answer{}, fmt.Errorf("encode %s: %w", e.Type, err)
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	deadline, _ := ctx.Deadline()
	for wait := firstWait; ; wait = min(2*wait, longWait) {
		a, err := r.post(ctx, body)
		if err == nil {
			return a, nil
		}
		// Full jitter, so that workers that failed together do not return together.
		pause := max(a.retryAfter, rand.N(wait))
		if ctx.Err() != nil || time.Until(deadline) <= pause {
			return a, fmt.Errorf("report %s: %w", e.Type, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// post sends the body once. An error means that it is worth repeating.
func (r reporter) post(ctx context.Context, body []byte) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	req.Header = r.header.Clone()
	reused := false
	req = req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused },
	}))
	res, err := r.client.Do(req)
	if err != nil {
		if reused { // the other idle connections are probably dead too: the retry dials
			r.client.CloseIdleConnections()
		}
		return a, err
	}
	defer res.Body.Close()
	a.status, a.retryAfter = res.StatusCode, retryAfter(res.Header.Get("Retry-After"))
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case a.status == http.StatusTooManyRequests || a.status >= 500:
		return a, fmt.Errorf("answered %d", a.status)
	case err != nil:
		return a, err
	case len(text) > maxAnswer:
		return a, errors.New("the answer is too long")
	}
	// The answer of a gateway in front of the service acknowledges nothing.
	if err := json.Unmarshal(text, &a); err != nil && a.status == http.StatusOK {
		return a, fmt.Errorf("read the answer: %w", err)
	}
	return a, nil
}

// retryAfter reads the header: whole seconds or a date (RFC 9110, 10.2.3), at
// most an hour; 0 when it is neither. Any number of digits is a number.
func retryAfter(header string) time.Duration {
	if header != "" && strings.Trim(header, "0123456789") == "" {
		seconds, err := strconv.Atoi(header)
		if err != nil || seconds > int(maxRetry/time.Second) {
			return maxRetry
		}
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(header); err == nil {
		return min(max(0, time.Until(date)), maxRetry)
	}
	return 0
}
