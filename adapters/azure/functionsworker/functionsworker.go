// Package functionsworker is the worker's front door on Azure Functions: the
// host hands over a message of a Service Bus or Storage queue by a POST to
// /<function name>, and takes an answer of 500 for "deliver it again".
//
// https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#request-payload
package functionsworker

import (
	"context"
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
	// delivery. Service Bus delivers a refused message again at once, and a
	// host cannot be told otherwise: the answer is held back instead, while the
	// host keeps the message locked.
	Pause time.Duration
}

// Config is what the handler is made of.
type Config struct {
	// Functions are the app's, by name: the directories of their function.json.
	Functions map[string]Function

	// MostPause bounds the wait for which a worker asks; 0 = it asks in vain.
	MostPause time.Duration

	Log *slog.Logger
}

type handler struct {
	Config
	stop context.Context
}

// New returns the handler of the host's invocations. Tasks run until they end or
// stop does, and not only as long as the host stays: if it goes away, the task
// goes on under its lease, and the next delivery of it finds out.
func New(stop context.Context, c Config) http.Handler { return &handler{c, stop} }

// maxPayload bounds an invocation: a message of Service Bus' Premium tier is
// at most 100 MB, but taskgate's are below 1 MiB, here encoded twice.
const maxPayload = 16 << 20

// done is the body of every answer: where the host finds none, or another type
// than application/json, it waits for ever.
// https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#response-payload
const done = `{"Outputs":{},"Logs":[],"ReturnValue":null}`

// ServeHTTP runs one invocation. 404 for a path that is no function's, and for
// the host's question whether this process lives, which any answer will do for.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, known := h.Functions[strings.TrimPrefix(r.URL.Path, "/")]
	if !known || r.Method != http.MethodPost {
		answer(w, http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPayload))
	var d worker.Delivery
	if err == nil {
		d, err = parse(body)
	}
	var outcome worker.Outcome
	if err != nil {
		h.Log.ErrorContext(r.Context(), "invocation refused", "function", r.URL.Path[1:], "error", err)
	} else {
		outcome = f.Deliver(h.stop, d)
	}
	if outcome.Acknowledge {
		answer(w, http.StatusOK)
		return
	}
	h.hold(r.Context(), max(f.Pause, min(outcome.Delay, h.MostPause)))
	answer(w, http.StatusInternalServerError)
}

// hold waits, unless nobody waits for the answer any more.
func (h *handler) hold(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-h.stop.Done():
	}
}

func answer(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, done) // a host that has gone delivers the message again
}
