// Package httpapi is the HTTP API over [task.Service]; openapi.yaml describes it.
// The package authenticates a request, reads it, calls the service and writes the
// answer. The service makes all decisions about tasks.
package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// Config is the configuration of a [Handler].
type Config struct {
	Service   *task.Service
	Auth      Auth
	PublicURL string // the service's URL for clients and workers, no trailing slash; "" = the gateway's BaseURL
	Log       *slog.Logger
}

// workTime is the maximum time of the work on one request. The wait that a client
// asks for is added. The platform's own deadline may be earlier.
const workTime = 10 * time.Second

// Handler serves the API.
type Handler struct{ config Config }

// New returns the handler.
func New(c Config) *Handler { return &Handler{c} }

// An endpoint is one method of one path.
type endpoint struct {
	name   string // for the log
	scope  string // the scope that the caller needs; "" = none
	handle func(*Handler, http.ResponseWriter, *request) error
	worker bool // workers call this endpoint, so its problems have the member acknowledge
}

// request is one HTTP request and what the handler knows about it.
type request struct {
	*http.Request
	caller Caller
	call   task.Call
	id     string // the task's id from the path

	// for the log
	traceID, taskID string
	itemErr         error // the first error in a batch that is the service's fault
}

// find returns the endpoints of a path by method, and the task's id in the path. It
// matches a path exactly and never redirects.
func find(path string) (methods map[string]endpoint, id string) {
	switch path {
	case "/healthz":
		return getHealth, ""
	case "/openapi.json":
		return getOpenAPI, ""
	case "/v1/capabilities":
		return getCapabilities, ""
	case "/v1/tasks":
		return tasks, ""
	case "/v1/tasks/batch":
		return tasksBatch, ""
	}
	if _, ok := queueOfPath(path); ok {
		return queueReceive, ""
	}
	rest, ok := strings.CutPrefix(path, "/v1/tasks/")
	id, verb, hasVerb := strings.Cut(rest, "/")
	switch {
	case !ok || id == "":
	case !hasVerb:
		return oneTask, id
	case verb == "cancel":
		return taskCancel, id
	case verb == "events":
		return taskEvents, id
	}
	return nil, ""
}

var (
	getHealth       = map[string]endpoint{"GET": {name: "health", handle: (*Handler).health}}
	getOpenAPI      = map[string]endpoint{"GET": {name: "openapi", handle: (*Handler).openAPI}}
	getCapabilities = map[string]endpoint{"GET": {name: "capabilities", scope: ScopeRead, handle: (*Handler).capabilities}}
	tasks           = map[string]endpoint{
		"POST": {name: "enqueue", scope: ScopeEnqueue, handle: (*Handler).enqueue},
		"GET":  {name: "list", scope: ScopeRead, handle: (*Handler).list},
	}
	tasksBatch = map[string]endpoint{"POST": {name: "batch", scope: ScopeEnqueue, handle: (*Handler).batch}}
	oneTask    = map[string]endpoint{"GET": {name: "get", scope: ScopeRead, handle: (*Handler).get}}
	taskCancel = map[string]endpoint{"POST": {name: "cancel", scope: ScopeEnqueue, handle: (*Handler).cancel}}
	taskEvents = map[string]endpoint{"POST": {name: "events", handle: (*Handler).events, worker: true}}
)

// ServeHTTP answers a request and logs one line about it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	seen := &recorder{ResponseWriter: w}
	req := &request{Request: r}
	req.call.Traceparent, req.call.Tracestate, req.traceID = trace(r.Header)
	methods, id := find(r.URL.Path)
	req.id, req.taskID = id, id
	e, err := h.serve(seen, req, methods)
	if err != nil {
		h.problem(seen, req, e, err)
	}
	h.log(req, e, seen.status, time.Since(start), err)
}

// serve authenticates the request and calls the endpoint. A panic is a defect of the
// service. The service may have sent a message before the panic, so the answer says
// that the outcome is unknown.
func (h *Handler) serve(w http.ResponseWriter, r *request, methods map[string]endpoint) (e endpoint, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &task.Error{Kind: task.Internal, Err: fmt.Errorf("panic: %s\n%s", panicText(p), debug.Stack())}
		}
	}()
	r.call.BaseURL = h.config.PublicURL
	if r.call.BaseURL == "" {
		r.call.BaseURL = GatewayOf(r.Context()).BaseURL
	}
	caller, unauthenticated := h.config.Auth(r.Request)
	if err := checkOrigin(r.Request, caller.Proof, r.call.BaseURL); err != nil {
		return methods[r.Method], err
	}
	if e, err = route(w, methods, r.Method); err != nil {
		return e, err
	}
	if e.scope != "" {
		if unauthenticated != nil {
			w.Header().Set("WWW-Authenticate", "Bearer")
			return e, unauthenticated
		}
		r.caller = caller
		r.call.Owner, r.call.Admin = caller.Name, caller.may(ScopeAdmin)
		if !caller.may(e.scope) {
			return e, task.Errorf(Forbidden, "the credential lacks the scope %s", e.scope)
		}
	}
	return e, e.handle(h, w, r)
}

// panicText returns a description of a panic for the log. The value of a panic may
// contain a payload, so panicText only shows values that come from the runtime.
func panicText(p any) string {
	if err, ok := p.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("a value of type %T", p)
}

// route returns the endpoint of the method. For another method it sets Allow.
func route(w http.ResponseWriter, methods map[string]endpoint, method string) (endpoint, error) {
	if methods == nil {
		return endpoint{}, task.Errorf(UnknownRoute, "the service has nothing at this path")
	}
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if e, ok := methods[method]; ok {
		return e, nil
	}
	var allow []string
	for m := range methods {
		if allow = append(allow, m); m == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	slices.Sort(allow)
	w.Header().Set("Allow", strings.Join(allow, ", "))
	return endpoint{}, task.Errorf(MethodNotAllowed, "the path takes %s", strings.Join(allow, ", "))
}

// workContext returns the context for the work on a request. It ends with the
// request, or after workTime and wait.
func (r *request) workContext(wait time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), workTime+wait)
}

// detachedContext returns a context that does not end when the client hangs up. It
// ends after workTime, or at the platform's deadline if that is earlier.
func (r *request) detachedContext() (context.Context, context.CancelFunc) {
	until := time.Now().Add(workTime)
	if deadline, ok := r.Context().Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	return context.WithDeadline(context.WithoutCancel(r.Context()), until)
}
