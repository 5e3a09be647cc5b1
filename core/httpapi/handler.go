// Package httpapi is taskgate's wire: the HTTP handler over [task.Service], as
// openapi.yaml describes it. It decides nothing about tasks; it authenticates,
// reads, calls, and writes.
package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// Config is what a main knows.
type Config struct {
	Service   *task.Service
	Auth      Auth
	PublicURL string // as clients and workers reach the service, no trailing slash; "" = the gateway's word
	Log       *slog.Logger
}

// workTime bounds the work on one request, beside the time that a client asks
// to wait. A front door's own deadline may be sooner.
const workTime = 10 * time.Second

// Handler serves the API.
type Handler struct{ config Config }

// New returns the handler.
func New(c Config) *Handler { return &Handler{c} }

// An endpoint is one method of one path.
type endpoint struct {
	name   string // for the log
	scope  string // "" = none is needed
	handle func(*Handler, http.ResponseWriter, *request) error
	worker bool // answers a worker: problems carry acknowledge
}

// request is one request on its way through the handler.
type request struct {
	*http.Request
	call task.Call
	id   string // the task's, from the path

	// for the log
	traceID, taskID string
	itemErr         error // the first of a batch's that is not the client's
}

// find returns what is at a path, by method, and the task's id in it. There are
// no patterns to match and so no redirects to other spellings of a path.
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
	e, err := route(seen, methods, r.Method)
	if err == nil {
		err = h.serve(seen, req, e)
	}
	if err != nil {
		h.problem(seen, req, e, err)
	}
	h.log(req, e, seen.status, time.Since(start), err)
}

func route(w http.ResponseWriter, methods map[string]endpoint, method string) (endpoint, error) {
	if methods == nil {
		return endpoint{}, task.Errorf(UnknownRoute, "there is nothing at this path")
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

// serve authenticates and calls the endpoint. A panic is our mistake: by then
// something may have been sent, so it is answered as unknown.
func (h *Handler) serve(w http.ResponseWriter, r *request, e endpoint) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &task.Error{Kind: task.Internal, Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	r.call.BaseURL = h.config.PublicURL
	if r.call.BaseURL == "" {
		r.call.BaseURL = GatewayOf(r.Context()).BaseURL
	}
	if e.scope != "" {
		caller, err := h.config.Auth(r.Request)
		if err != nil {
			w.Header().Set("WWW-Authenticate", "Bearer")
			return err
		}
		r.call.Owner, r.call.Admin = caller.Name, caller.may(ScopeAdmin)
		if !caller.may(e.scope) {
			return task.Errorf(Forbidden, "the credential lacks the scope %s", e.scope)
		}
	}
	return e.handle(h, w, r)
}

// work returns the context of the work on a request.
func (r *request) work(wait time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), workTime+wait)
}

// finish returns the context of work that goes on although the client hangs up,
// within the front door's deadline all the same.
func (r *request) finish() (context.Context, context.CancelFunc) {
	until := time.Now().Add(workTime)
	if deadline, ok := r.Context().Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	return context.WithDeadline(context.WithoutCancel(r.Context()), until)
}
