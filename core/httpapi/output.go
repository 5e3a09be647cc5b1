package httpapi

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/core/task"
)

// writeJSON answers with v as JSON.
func writeJSON(w http.ResponseWriter, r *request, status int, media string, v any) error {
	body, err := encode(v)
	if err != nil {
		return err
	}
	writeBody(w, r, status, media, body)
	return nil
}

// encode renders v as JSON. Equal documents give equal bytes.
func encode(v any) ([]byte, error) {
	body, err := json.Marshal(v, task.JSONOptions)
	if err != nil {
		return nil, &task.Error{Kind: task.Internal, Msg: "cannot encode the answer", Err: err}
	}
	return append(body, '\n'), nil
}

func writeBody(w http.ResponseWriter, r *request, status int, media string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", media)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // an error means that the client has disconnected
	}
}

// problem answers with the problem document of err.
func (h *Handler) problem(w http.ResponseWriter, r *request, e endpoint, err error) {
	known := asError(err)
	p := problemOf(known, maxErrors)
	if e.worker {
		acknowledge := known.Kind.Acknowledge()
		p.Acknowledge = &acknowledge
	}
	if p.TaskID != "" {
		r.taskID = p.TaskID
	}
	if after := retryAfter(known, p.Status); after != "" {
		w.Header().Set("Retry-After", after)
	}
	_ = writeJSON(w, r, p.Status, "application/problem+json", p) // encoding a Problem never fails
}

// asError returns err as a task.Error. The kind of an unknown error is Internal.
func asError(err error) *task.Error {
	var known *task.Error
	if !errors.As(err, &known) {
		known = &task.Error{Kind: task.Internal, Err: err}
	}
	return known
}

// recorder keeps the status for the log.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// log writes one line about a request. The line has no payload and no secret. For a
// refused request it has only the problem's code, because the detail may quote names
// and values that the client sent.
func (h *Handler) log(r *request, e endpoint, status int, took time.Duration, err error) {
	level := slog.LevelInfo
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs,
		slog.String("endpoint", e.name),
		slog.String("method", r.Method),
		slog.Int("status", status),
		slog.Float64("ms", float64(took.Microseconds())/1000),
	)
	for _, a := range []slog.Attr{
		slog.String("caller", r.caller.Name),
		slog.String("task_id", r.taskID),
		slog.String("trace_id", r.traceID),
		slog.String("request_id", GatewayOf(r.Context()).RequestID),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	switch {
	case err == nil:
	case status >= 500:
		attrs = append(attrs, slog.String("error", err.Error()))
	default:
		attrs = append(attrs, slog.String("error", string(task.KindOf(err))))
	}
	if r.itemErr != nil {
		attrs = append(attrs, slog.String("item_error", r.itemErr.Error()))
	}
	if status >= 500 || r.itemErr != nil {
		level = slog.LevelError
	}
	h.config.Log.LogAttrs(r.Context(), level, "request", attrs...)
}
