// Package worker is the worker's side of taskgate: it takes a message as a
// queue delivered it, runs the handler of its task_name under a lease, reports
// what became of it, and says whether to give the message back as done.
//
// A trigger (SQS, SNS, Lambda, Service Bus, a Storage queue, a local push) turns
// what it received into a [Delivery], and the [Outcome] into its own
// acknowledgement. Brokers deliver at least once: a handler may run again for a
// task that it has run before, with a higher [Task.Attempt].
package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/task"
)

// Config is what a [Worker] is made of. Handler is required, and so is
// EventsBase unless Observe is set.
type Config struct {
	Handler Handler // usually a [Mux]

	// EventsBase is the service's base URL, as in TASKGATE_EVENTS_BASE. A
	// message whose events_url is not at this scheme, host and port and below
	// this path is refused: whoever can write to the queue must not choose
	// where this worker sends requests.
	EventsBase string

	// Rebase sends all reports below EventsBase, whatever address a message names.
	// Set it when the service has moved, or has another address for this worker.
	Rebase bool

	// Observe is for the other subscriptions of a topic: one subscription reports,
	// and the others observe. The handler runs without events and without fencing.
	// If it returns an error or panics, the message is left to the broker.
	Observe bool

	Client *http.Client  // sends the reports, never following a redirect; nil = one that keeps a connection for each of 100 tasks
	ID     string        // shown in the task's worker_ids, 1–255 characters; "" = host/pid/random
	Lease  time.Duration // 5 s to an hour; 0 = 45 s. It bounds how long a dead worker goes unnoticed.

	// Log gets a line when a delivery ends, and a line for each heartbeat or progress
	// report that failed. No line has arguments, results or tokens. Of the handler's
	// errors only an observer's are logged, because no record holds them.
	// nil = slog.Default().
	Log *slog.Logger
}

// Worker processes deliveries. Its methods may be called concurrently, and no
// goroutine outlives the call that started it.
type Worker struct {
	handler Handler
	base    *url.URL
	rebase  bool
	observe bool
	client  *http.Client
	id      string
	lease   time.Duration
	log     *slog.Logger
}

// New returns a worker, or an error that names everything wrong with c.
func New(c Config) (*Worker, error) {
	w := &Worker{handler: c.Handler, rebase: c.Rebase, observe: c.Observe, id: c.ID, lease: c.Lease, log: c.Log}
	var errs []error
	if c.Handler == nil {
		errs = append(errs, errors.New("worker: Handler is missing"))
	}
	if !c.Observe {
		base, err := parseBase(c.EventsBase)
		if err != nil {
			errs = append(errs, fmt.Errorf("worker: EventsBase %w", err))
		}
		w.base = base
	}
	if w.id == "" {
		host, _ := os.Hostname() // only for people to read
		w.id = fmt.Sprintf("%s/%d/%s", host, os.Getpid(), rand.Text()[:8])
	}
	if len(w.id) > 255 || strings.ContainsFunc(w.id, func(r rune) bool { return r < ' ' || r > '~' }) {
		errs = append(errs, errors.New("worker: ID must be 1 to 255 characters of printable ASCII"))
	}
	if w.lease == 0 {
		w.lease = task.DefaultLease * time.Second
	}
	if w.lease < task.MinLease*time.Second || w.lease > task.MaxLease*time.Second || w.lease%time.Second != 0 {
		errs = append(errs, fmt.Errorf("worker: Lease must be whole seconds, from %d to %d", task.MinLease, task.MaxLease))
	}
	if w.log == nil {
		w.log = slog.Default()
	}
	var client http.Client
	if c.Client != nil {
		client = *c.Client
	} else {
		client.Transport = newTransport()
	}
	// A redirect would take the task's token to an origin nobody configured.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	w.client = &client
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return w, nil
}

// newTransport returns net/http's own transport with one change: it keeps up to
// 100 idle connections to the service. A worker reports on many tasks at once, and
// a report that has to connect first comes later.
func newTransport() http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // the program has put another in its place
		return http.DefaultTransport
	}
	t = t.Clone()
	t.MaxIdleConnsPerHost = 100
	return t
}

// Delivery is a message as a queue delivered it.
type Delivery struct {
	Body       []byte            // the message, with the target's own encoding undone (base64, an SNS envelope)
	Attributes map[string]string // the message's attributes or application properties, where the target has any
}

// Outcome is what to do with a delivered message.
type Outcome struct {
	// Acknowledge: true = give the message back as done; false = let the
	// broker deliver it again, and in the end put it into its dead-letter queue.
	Acknowledge bool

	// Delay is how long the next delivery should wait, where the broker can be
	// told; 0 = as the broker sees fit.
	Delay time.Duration
}

// read parses a delivery and checks that it can be reported on. A message whose
// arguments break the rules of JSON is still reported on: bad says what is wrong
// with them.
func (w *Worker) read(d Delivery) (m task.Message, bad, err error) {
	m, err = task.ParseMessage(d.Body, d.Attributes)
	if err != nil {
		bad = fmt.Errorf("the message cannot be read: %w", err)
		m, err = readLaxly(d)
	}
	if err != nil || w.observe && bad != nil {
		// The parser's error may quote arguments, and this error goes to the log.
		return m, nil, errors.New("the body is not a message: it breaks the rules of JSON, or a member has the wrong type")
	}
	return m, bad, w.check(&m)
}

// readLaxly parses a delivery whose JSON has duplicate names or is not UTF-8.
func readLaxly(d Delivery) (m task.Message, err error) {
	lax := json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	err = json.Unmarshal(d.Body, &m, lax)
	if envelope := d.Attributes[task.AttributeEnvelope]; err == nil && m.ID == "" && envelope != "" {
		err = json.Unmarshal([]byte(envelope), &m.Envelope)
	}
	return m, err
}

// check reports why nothing can be reported on a message.
func (w *Worker) check(m *task.Message) error {
	switch {
	case m.TaskName == "":
		return errors.New("the message has no task_name")
	case w.observe && m.Offloaded:
		return errors.New("the message's arguments are offloaded: only the worker that reports is given them")
	case w.observe:
		return nil
	case m.V != task.MessageVersion:
		return fmt.Errorf("the message is of version %d: this worker reads version %d", m.V, task.MessageVersion)
	case m.ID == "" || m.Token == "" || !token(m.Token):
		return errors.New("the message has no id or no valid token")
	}
	if w.rebase {
		m.EventsURL = w.base.JoinPath("v1", "tasks", m.ID, "events").String()
	}
	return within(w.base, m.EventsURL)
}

// unreadable logs a delivery that nothing can be reported on, and leaves it to the
// broker. In the end the dead-letter queue keeps it for a human.
func (w *Worker) unreadable(ctx context.Context, m task.Message, err error) Outcome {
	w.log.ErrorContext(ctx, "message refused", "task_id", m.ID, "task_name", m.TaskName, "error", err)
	return Outcome{}
}
