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

// DefaultTimeout is the maximum time of a delivery over HTTP, unless an attempt at
// the task holds a lease. Cloud Tasks has the same timeout
// (https://cloud.google.com/tasks/docs/creating-http-target-tasks).
const DefaultTimeout = 10 * time.Minute

// maxRetryAfter is the longest delay that a worker can ask for. It equals the
// longest lease.
const maxRetryAfter = task.MaxLease * time.Second

// maxDrain is how many bytes of an answer are read and discarded, so that the
// connection can be reused.
const maxDrain = 64 << 10

// headers maps the attributes that are sent as headers to the headers' names.
var headers = map[string]string{
	task.AttributeTaskID:      "Taskgate-Task-Id",
	task.AttributeTaskName:    "Taskgate-Task-Name",
	task.AttributeTraceparent: "Traceparent",
	task.AttributeEnvelope:    "Taskgate-Envelope",
}

// HTTP is a [Deliverer] that POSTs each message to a worker's URL. The body of the
// request is the message. A 2xx answer acknowledges the message. 429 and 503 mean
// that the worker is busy. After any other answer (also a redirect), or without an
// answer, the message is delivered again. If the answer has Retry-After, that is
// the delay, up to an hour.
//
// Headers are ASCII. Other bytes and "%" in the names of the task, the queue and the
// backend are percent-encoded (RFC 3986). Taskgate-Envelope is JSON with \u escapes.
type HTTP struct {
	url     string
	client  *http.Client
	timeout time.Duration
}

// NewHTTP returns a deliverer to url. The client should keep as many idle
// connections as there are concurrent deliveries: see [NewClient]. timeout is the
// maximum time of a delivery; 0 = [DefaultTimeout]. While an attempt at the task
// holds a lease, the delivery continues until the lease ends.
func NewHTTP(client *http.Client, url string, timeout time.Duration) *HTTP {
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &HTTP{url: url, client: &own, timeout: orElse(timeout, DefaultTimeout)}
}

// NewClient returns a client that keeps up to this number of idle connections to
// one host.
func NewClient(connections int) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 0, connections
	return &http.Client{Transport: transport}
}

// errTimeout is the error of a delivery that the worker has not answered in time.
var errTimeout = errors.New("the worker did not answer in time and holds no lease")

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
	_, _ = io.CopyN(io.Discard, res.Body, maxDrain) // the error does not matter, only the status does
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

// retryAfter reads a Retry-After header: whole seconds or a date (RFC 9110, section
// 10.2.3). It returns 0 when the header is neither, or when the date has passed.
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

// percentEncode turns any text into a header value. Printable ASCII without "%"
// stays unchanged.
func percentEncode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		edge := i == 0 || i == len(s)-1 // a space at either end of a header is lost
		if c < ' ' || c > '~' || c == '%' || c == ' ' && edge {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// asciiJSON escapes all characters of a JSON text that are not ASCII. These can only
// be inside strings.
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
