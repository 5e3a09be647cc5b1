package worker

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// EnvelopeHeader carries what a plain payload has beside its body when a
// message is pushed over HTTP: the attribute [task.AttributeEnvelope].
const EnvelopeHeader = "Taskgate-Envelope"

// maxPush bounds a pushed message: 1 MiB of arguments and metadata, and room.
const maxPush = 4 << 20

// PushHandler lets the worker be the target of TASKGATE_WORKER_URL. Each POST is
// a message. The answer is 204 when the message is acknowledged, and otherwise
// 500, with Retry-After where the next delivery should wait. A worker that is
// stopping starts nothing and answers 503, which does not count as a delivery.
//
// A task runs until it ends or stop does, even if the pusher hangs up: the task
// keeps its lease, and the next push of its message finds out how it went.
// http.Server.Shutdown waits for running tasks.
func (w *Worker) PushHandler(stop context.Context) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodPost:
			rw.Header().Set("Allow", http.MethodPost)
			http.Error(rw, "a message is POSTed", http.StatusMethodNotAllowed)
			return
		case stop.Err() != nil:
			http.Error(rw, "the worker is stopping", http.StatusServiceUnavailable)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxPush))
		if err != nil {
			http.Error(rw, "the message cannot be read", http.StatusInternalServerError)
			return
		}
		d := Delivery{Body: body}
		if envelope := r.Header.Get(EnvelopeHeader); envelope != "" {
			d.Attributes = map[string]string{task.AttributeEnvelope: envelope}
		}
		outcome := w.Process(stop, d)
		if outcome.Acknowledge {
			rw.WriteHeader(http.StatusNoContent)
			return
		}
		if outcome.Delay > 0 {
			seconds := (outcome.Delay + time.Second - 1) / time.Second
			rw.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
		}
		rw.WriteHeader(http.StatusInternalServerError)
	})
}
