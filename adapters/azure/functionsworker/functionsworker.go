// Package functionsworker is the worker's front door on Azure Functions: the
// host hands over a message of a Service Bus or Storage queue by a POST to
// /<function name>, and takes an answer of 500 for "deliver it again".
//
// https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#request-payload
package functionsworker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/taskgate/taskgate/core/worker"
)

// Function is what one function of the app does with its messages.
type Function struct {
	// Deliver is (*worker.Worker).Process, or DeadLetter for a function whose
	// trigger is a dead-letter subqueue or a poison queue.
	Deliver func(context.Context, worker.Delivery) worker.Outcome

	// Pause is how long, at least, a refused message waits for its next
	// delivery. Service Bus delivers a refused message again at once, and the
	// host cannot be told to wait. So the answer is held back, while the host
	// keeps the message locked.
	Pause time.Duration
}

// Config is what the handler is made of.
type Config struct {
	// Functions are the app's, by name: the directories of their function.json.
	Functions map[string]Function

	// MaxPause bounds the wait that a worker asks for; 0 = no wait.
	MaxPause time.Duration

	// Timeout is the app's functionTimeout; 0 = none. When one invocation exceeds
	// it, the host kills this process, with every task that runs in it.
	Timeout time.Duration

	Log *slog.Logger
}

// The times that are kept back from the host's time-out. A worker that was
// stopped takes up to 5 s to report; an answer takes much less. Of a short
// time-out they are a quarter and an eighth.
const (
	reportTime = 8 * time.Second
	answerTime = 2 * time.Second
)

var (
	errTimeout = errors.New("the function's time-out is near")
	errIgnored = errors.New("the handler did not end with its context")
)

type handler struct {
	Config
	stop context.Context
}

// New returns the handler of the host's invocations. A task runs until it ends,
// stop ends or the host's time-out is near. If the host hangs up, the task goes
// on under its lease, and the next delivery of it finds out.
func New(stop context.Context, c Config) http.Handler { return &handler{c, stop} }

// maxPayload bounds an invocation: a message of Service Bus' Premium tier is
// at most 100 MB, but taskgate's are below 1 MiB, here encoded twice.
const maxPayload = 16 << 20

// done is the body of every answer. When the host finds no body, or one that is
// not application/json, it waits for ever.
// https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#response-payload
const done = `{"Outputs":{},"Logs":[],"ReturnValue":null}`

// ServeHTTP runs one invocation. It answers 404 for a path that is no function's.
// The host's question whether this process lives takes any answer.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	f, known := h.Functions[name]
	if !known || r.Method != http.MethodPost {
		answer(w, http.StatusNotFound)
		return
	}
	handling, answering := h.stop, h.stop
	if h.Timeout > 0 {
		var done, answered context.CancelFunc
		arrived := time.Now()
		handling, done = context.WithDeadlineCause(h.stop, arrived.Add(h.Timeout-min(reportTime, h.Timeout/4)), errTimeout)
		defer done()
		answering, answered = context.WithDeadline(h.stop, arrived.Add(h.Timeout-min(answerTime, h.Timeout/8)))
		defer answered()
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPayload))
	var d worker.Delivery
	if err == nil {
		d, err = parse(body)
	}
	var outcome worker.Outcome
	if err == nil {
		outcome, err = deliver(handling, answering, f, d)
	}
	if err != nil {
		h.Log.ErrorContext(r.Context(), "invocation refused", "function", name, "error", err)
	}
	if outcome.Acknowledge {
		answer(w, http.StatusOK)
		return
	}
	h.hold(r.Context(), answering, max(f.Pause, min(outcome.Delay, h.MaxPause)))
	answer(w, http.StatusInternalServerError)
}

// deliver delivers a message. It does not wait beyond the deadline of answering
// for a handler that ignores the end of its context: that task goes on under its
// lease, and the others in this process survive.
func deliver(handling, answering context.Context, f Function, d worker.Delivery) (worker.Outcome, error) {
	deadline, bounded := answering.Deadline()
	if !bounded {
		return f.Deliver(handling, d), nil
	}
	late := time.NewTimer(time.Until(deadline))
	defer late.Stop()
	done := make(chan worker.Outcome, 1)
	go func() { done <- f.Deliver(handling, d) }()
	select {
	case outcome := <-done:
		return outcome, nil
	case <-late.C:
		return worker.Outcome{}, errIgnored
	}
}

// hold waits, unless nobody waits for the answer any more or it is urgent.
func (h *handler) hold(host, answering context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-host.Done():
	case <-answering.Done():
	}
}

func answer(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, done) // a host that has gone delivers the message again
}
