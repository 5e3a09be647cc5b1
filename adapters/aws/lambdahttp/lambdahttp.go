// Package lambdahttp is the front door on AWS Lambda: it turns the events of an
// API Gateway HTTP API (payload format 2.0, any stage) and of a function URL
// into requests to an http.Handler, and what that answers into their responses.
//
// Events: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
// and https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
package lambdahttp

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/taskgate/taskgate/core/httpapi"
)

// Handler serves an http.Handler to Lambda: it is a lambda.Handler of
// aws-lambda-go. Invocations may run concurrently.
type Handler struct {
	HTTP http.Handler

	// BasePath is what clients put in front of the API's paths, "/tasks": the key
	// of a custom domain's API mapping. An event's path may have it; "" = none.
	BasePath string

	Log *slog.Logger // for what HTTP does not log: malformed events, panics, answers that are too large
}

// The handler's context ends this long before the function's deadline, so that
// core/task can clean up after a request whose time is up (2 s), and answer. Of a
// short time-out it is a quarter.
const (
	margin      = 2500 * time.Millisecond
	marginShare = 4
)

// Invoke answers one event. It never fails: a function error would be the
// gateway's own 500, with a body that no client of ours knows.
func (h *Handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	ctx, cancel := withMargin(ctx)
	defer cancel()
	e, err := parseEvent(payload)
	if err != nil {
		h.Log.ErrorContext(ctx, "malformed event", "error", err)
		return problem(http.StatusBadRequest, codeMalformed, "The event is malformed",
			"this is not a request from an HTTP API (payload format 2.0) or a function URL").encode(), nil
	}
	prefix, path := e.route(h.BasePath)
	ctx = httpapi.WithGateway(ctx, e.gateway(prefix))
	r, err := e.request(ctx, path)
	if err != nil {
		h.Log.ErrorContext(ctx, "malformed event", "error", err, "request_id", e.Context.RequestID)
		return problem(http.StatusBadRequest, codeMalformed, "The event is malformed", err.Error()).encode(), nil
	}
	answer, err := h.serve(r).render(r.Method)
	if err != nil {
		h.Log.ErrorContext(ctx, "no answer", "error", err, "path", r.URL.Path, "request_id", e.Context.RequestID)
	}
	return answer, nil
}

// withMargin ends the context before Lambda ends the function.
func withMargin(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(margin, time.Until(deadline)/marginShare)))
}

// serve runs the handler. After a panic, what was written is dropped, because it
// is incomplete.
func (h *Handler) serve(r *http.Request) (w *responseWriter) {
	w = &responseWriter{header: http.Header{}}
	defer func() {
		if v := recover(); v != nil {
			h.Log.ErrorContext(r.Context(), "panic", "error", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			w = problem(http.StatusServiceUnavailable, codeInternal, "Something went wrong inside", "the outcome is unknown")
		}
	}()
	h.HTTP.ServeHTTP(w, r)
	return w
}
