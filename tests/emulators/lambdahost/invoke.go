package lambdahost

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/internal/child"
)

// invocation is one event on its way through the process.
type invocation struct {
	payload  []byte
	deadline time.Time
	done     chan struct{}
	proc     *child.Process // who holds it

	response []byte
	err      error
}

// finish answers the invocation; the caller holds the host's lock and calls it once.
func (i *invocation) finish(response []byte, err error) {
	i.response, i.err = response, err
	close(i.done)
}

// Invoke hands payload to the process and returns its response: a *FunctionError if the function
// failed, ErrExited if the process ended, the context's error if that ended first, or the time-out's.
func (h *Host) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	call := &invocation{payload: payload, deadline: time.Now().Add(h.options.Timeout), done: make(chan struct{})}
	ctx, cancel := context.WithDeadline(ctx, call.deadline)
	defer cancel()
	select {
	case h.queue <- call:
	case <-ctx.Done():
		return nil, fmt.Errorf("lambdahost: no process took the invocation: %w", ctx.Err())
	}
	select {
	case <-call.done:
		return call.response, call.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Handle is Invoke for callers that want no response: a lambdadouble.Function.
func (h *Host) Handle(ctx context.Context, payload []byte) error {
	_, err := h.Invoke(ctx, payload)
	return err
}

func (h *Host) api() http.Handler {
	const base = "/2018-06-01/runtime/"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+base+"invocation/next", h.next)
	mux.HandleFunc("POST "+base+"invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) {
		h.answer(w, r, func(body []byte) ([]byte, error) { return body, nil })
	})
	mux.HandleFunc("POST "+base+"invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) {
		kind := r.Header.Get("Lambda-Runtime-Function-Error-Type")
		h.answer(w, r, func(body []byte) ([]byte, error) { return nil, &FunctionError{kind, body} })
	})
	mux.HandleFunc("POST "+base+"init/error", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(&h.out, "init error: %s\n", body)
		w.WriteHeader(http.StatusAccepted)
	})
	return mux
}

// next gives the poller the next invocation, however long that takes.
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-next
func (h *Host) next(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	proc := h.proc
	select {
	case <-h.asked:
	default:
		close(h.asked)
	}
	h.mu.Unlock()
	select {
	case call := <-h.queue:
		h.hand(w, call, proc)
	case <-proc.Done():
	case <-r.Context().Done():
	case <-h.ended:
	}
}

func (h *Host) hand(w http.ResponseWriter, call *invocation, proc *child.Process) {
	h.mu.Lock()
	h.count++
	count := h.count
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", count)
	call.proc = proc
	h.inflight[id] = call
	select {
	case <-proc.Done(): // it ended before this was noted, so reap has missed it
		call.finish(nil, ErrExited)
		delete(h.inflight, id)
	default:
	}
	h.mu.Unlock()
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Lambda-Runtime-Aws-Request-Id", id)
	header.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(call.deadline.UnixMilli(), 10))
	header.Set("Lambda-Runtime-Invoked-Function-Arn", awsemu.ARN("lambda", "function:"+h.options.Name))
	header.Set("Lambda-Runtime-Trace-Id", fmt.Sprintf("Root=1-%08x-%024x;Parent=%016x;Sampled=0", call.deadline.Unix(), count, count))
	_, _ = w.Write(call.payload)
}

// answer ends an invocation. An unknown id is 400, as on Lambda after a time-out.
func (h *Host) answer(w http.ResponseWriter, r *http.Request, outcome func([]byte) ([]byte, error)) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the process went away
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	call := h.inflight[r.PathValue("id")]
	if call == nil {
		http.Error(w, `{"errorType":"InvalidRequestID"}`, http.StatusBadRequest)
		return
	}
	delete(h.inflight, r.PathValue("id"))
	call.finish(outcome(body))
	w.WriteHeader(http.StatusAccepted)
}
