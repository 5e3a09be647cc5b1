package push

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/core/task"
)

// DefaultTimeout bounds a delivery over HTTP whose task no attempt holds a lease
// of, as Cloud Tasks does (https://cloud.google.com/tasks/docs/creating-http-target-tasks).
const DefaultTimeout = 10 * time.Minute

// maxRetryAfter bounds what a worker may ask for: no lease is longer.
const maxRetryAfter = task.MaxLease * time.Second

// maxDrain is how much of an answer is read, so that its connection can be used
// again. Nothing reads the text itself.
const maxDrain = 64 << 10

// headers are the attributes that go as headers, and their names there.
var headers = map[string]string{
	task.AttributeTaskID:      "Taskgate-Task-Id",
	task.AttributeTaskName:    "Taskgate-Task-Name",
	task.AttributeTraceparent: "Traceparent",
	task.AttributeEnvelope:    "Taskgate-Envelope",
}

// HTTP is a [Deliverer] that POSTs each message to a worker's URL. The body is
// the message. Any 2xx acknowledges it; 429 and 503 say that the worker is busy.
// Any other answer, also a redirect, and no answer leave the message to be
// delivered again, after Retry-After where that is given (at most an hour).
//
// Headers are ASCII. In the names of the task, the queue and the backend other
// bytes, and "%", are percent-encoded (RFC 3986). Taskgate-Envelope is JSON, with
// \u escapes.
type HTTP struct {
	url     string
	client  *http.Client
	timeout time.Duration
}

// NewHTTP returns a deliverer to url. The client should keep as many idle
// connections as there are deliveries at once: see [NewClient]. The timeout
// bounds a delivery; 0 = [DefaultTimeout]. A delivery whose attempt holds a lease
// goes on until the lease ends.
func NewHTTP(client *http.Client, url string, timeout time.Duration) *HTTP {
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &HTTP{url: url, client: &own, timeout: orElse(timeout, DefaultTimeout)}
}

// NewClient returns a client that keeps so many idle connections to one host.
func NewClient(connections int) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, connections
	return &http.Client{Transport: transport}
}

// errTimeout ends a delivery that the worker has not answered.
var errTimeout = errors.New("the worker did not answer in time, and holds no lease")

// Deliver implements [Deliverer].
func (h *HTTP) Deliver(ctx context.Context, d embedded.Delivery) (Outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answered := make(chan struct{})
	defer close(answered)
	go func() {
		for wait := h.timeout; wait > 0; wait = time.Until(d.LeaseUntil()) {
			if within(answered, wait) {
				return
			}
		}
		cancel(errTimeout)
	}()
	req, err := newRequest(ctx, h.url, d)
	if err != nil {
		return Outcome{}, err
	}
	res, err := h.client.Do(req)
	if err != nil {
		return Outcome{}, cmp.Or(context.Cause(ctx), err)
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, maxDrain) // only the status matters
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return Outcome{Acknowledge: true}, nil
	}
	return Outcome{
		Busy:  res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable,
		Delay: retryAfter(res.Header.Get("Retry-After")),
	}, fmt.Errorf("the worker answered %d", res.StatusCode)
}

// newRequest builds the POST of a delivery.
func newRequest(ctx context.Context, url string, d embedded.Delivery) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(d.Body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Taskgate-Delivery-Count", strconv.Itoa(d.Count))
	req.Header.Set("Taskgate-Queue-Name", percentEncode(d.Name))
	req.Header.Set("Taskgate-Backend", percentEncode(d.Backend))
	for attribute, name := range headers {
		value := d.Attributes[attribute]
		if value == "" {
			continue
		}
		if attribute == task.AttributeEnvelope {
			value = asciiJSON(value)
		} else {
			value = percentEncode(value)
		}
		req.Header.Set(name, value)
	}
	return req, nil
}

// retryAfter reads the header: whole seconds or a date (RFC 9110, 10.2.3). It
// returns 0 when it is neither, or in the past.
func retryAfter(header string) time.Duration {
	if header != "" && strings.Trim(header, "0123456789") == "" {
		seconds, err := strconv.ParseUint(header, 10, 31)
		if err != nil { // too many digits
			return maxRetryAfter
		}
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if date, err := http.ParseTime(header); err == nil {
		return min(max(time.Until(date), 0), maxRetryAfter)
	}
	return 0
}

// percentEncode makes a header value of any text, and of plain ASCII itself.
func percentEncode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		edge := i == 0 || i == len(s)-1 // where a header's spaces are lost
		if c < ' ' || c > '~' || c == '%' || c == ' ' && edge {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// asciiJSON escapes what is not ASCII in a JSON text; it is in strings there.
func asciiJSON(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r <= '~':
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
