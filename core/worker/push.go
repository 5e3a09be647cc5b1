package worker

import (
	"context"
	"errors"
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

// PushHandler lets the worker be the target of TASKGATE_WORKER_URL: each POST
// is a message, answered 204 when it is acknowledged, else 503, with Retry-After
// where a delay is wanted.
//
// Tasks run until they end or stop does, and not only as long as the pusher
// stays: if it is restarted, the task goes on under its lease, and the next
// push of it finds out. http.Server.Shutdown waits for running tasks.
func (w *Worker) PushHandler(stop context.Context) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			rw.Header().Set("Allow", http.MethodPost)
			http.Error(rw, "a message is POSTed", http.StatusMethodNotAllowed)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxPush))
		if err != nil {
			status := http.StatusBadRequest
			if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
				status = http.StatusRequestEntityTooLarge
			}
			http.Error(rw, "the message cannot be read", status)
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
		rw.WriteHeader(http.StatusServiceUnavailable)
	})
}
