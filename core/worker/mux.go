package worker

import (
	"context"
	"fmt"
)

// Handler runs tasks. Its result is encoded by encoding/json and becomes the
// task's return_value.
//
// An error fails the attempt. The task is tried again when the broker delivers
// its message again, unless its max_attempts are used up or the error is
// [Permanent]. An error, or one that it wraps, may have a method
// ExceptionClassPath() string: the Python exception that Django shows for it.
//
// The context ends when the work has become pointless or is to stop;
// context.Cause says why: [ErrCancelRequested], [ErrLost], or the cause of the
// context that was passed to [Worker.Process].
type Handler interface {
	Run(ctx context.Context, t *Task) (result any, err error)
}

// HandlerFunc is a function as a [Handler].
type HandlerFunc func(ctx context.Context, t *Task) (any, error)

// Run calls f.
func (f HandlerFunc) Run(ctx context.Context, t *Task) (any, error) { return f(ctx, t) }

// Mux is a [Handler] that picks another by the task's name. Register all
// handlers before the first task comes.
type Mux struct {
	handlers map[string]Handler
}

// NewMux returns a mux with no handlers.
func NewMux() *Mux { return &Mux{handlers: map[string]Handler{}} }

// Handle registers the handler for tasks of exactly this task_name. It panics
// if there is one already.
func (m *Mux) Handle(name string, h Handler) {
	if _, dup := m.handlers[name]; dup {
		panic(fmt.Sprintf("worker: two handlers for %q", name))
	}
	m.handlers[name] = h
}

// HandleFunc registers a function as [Mux.Handle] does a handler.
func (m *Mux) HandleFunc(name string, f func(ctx context.Context, t *Task) (any, error)) {
	m.Handle(name, HandlerFunc(f))
}

// Run runs the handler of the task's name. A name without one is an error that
// is tried again: the worker that knows it may be on its way in a deployment,
// and if not, the broker's limit on deliveries ends it.
func (m *Mux) Run(ctx context.Context, t *Task) (any, error) {
	h, ok := m.handlers[t.Name]
	if !ok {
		return nil, fmt.Errorf("this worker has no handler for task_name %q", t.Name)
	}
	return h.Run(ctx, t)
}
