// Package lambdahost runs an unmodified Lambda bootstrap binary, as Lambda does: it serves the runtime
// API that the binary polls.
//
// API: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
package lambdahost

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/internal/child"
	"github.com/taskgate/taskgate/tests/wait"
)

// ErrExited is the answer to invocations whose process ended before it answered.
var ErrExited = errors.New("lambdahost: the runtime exited without an answer")

// FunctionError is what the function's own error looks like to whoever invoked it.
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-invokeerror
type FunctionError struct {
	Type    string // the Lambda-Runtime-Function-Error-Type header
	Payload []byte // JSON: errorType, errorMessage, stackTrace
}

// Error is the whole error document.
func (e *FunctionError) Error() string { return "lambdahost: " + e.Type + " " + string(e.Payload) }

// Options configure a Host. The zero value is ready.
type Options struct {
	Name    string        // of the function; default "function"
	Timeout time.Duration // from invocation to deadline; default 30 s
	Env     []string      // in addition to what Lambda sets; nothing is inherited from the test
	Args    []string      // Lambda gives none; tests that are their own bootstrap need some
}

// Host is one execution environment: one process, and the runtime API that it polls. Invoke may be
// called from several goroutines: invocations wait until the process asks for the next.
type Host struct {
	t         testing.TB
	bootstrap string
	options   Options
	server    *httptest.Server
	out       child.Output
	queue     chan *invocation
	ended     chan struct{} // the test is over

	mu       sync.Mutex
	proc     *child.Process
	asked    chan struct{} // closed at the process's first poll
	inflight map[string]*invocation
	count    int
}

// Start spawns bootstrap and waits until it asks for its first invocation. The process is killed when
// the test ends; its output is shown if the test failed.
func Start(t testing.TB, bootstrap string, options Options) *Host {
	t.Helper()
	if options.Name == "" {
		options.Name = "function"
	}
	if options.Timeout == 0 {
		options.Timeout = 30 * time.Second
	}
	h := &Host{t: t, bootstrap: bootstrap, options: options, queue: make(chan *invocation), ended: make(chan struct{}), inflight: map[string]*invocation{}}
	h.server = httptest.NewServer(h.api())
	t.Cleanup(func() {
		h.Kill()
		close(h.ended)
		h.server.Close()
		if t.Failed() {
			t.Logf("%s printed:\n%s", bootstrap, h.Log())
		}
	})
	h.spawn()
	return h
}

// Kill ends the process with SIGKILL. Invocations that it holds answer ErrExited; those that wait go
// on waiting for Restart.
func (h *Host) Kill() {
	h.mu.Lock()
	proc := h.proc
	h.mu.Unlock()
	if proc != nil {
		proc.Kill()
	}
}

// Goroutines ends the process with SIGQUIT, on which Go's runtime prints the stacks of all goroutines,
// and returns those that match.
func (h *Host) Goroutines(match *regexp.Regexp) []string {
	h.mu.Lock()
	proc := h.proc
	h.mu.Unlock()
	return proc.Goroutines(h.t, match)
}

// Restart spawns the bootstrap again, killing it first if need be. Its output starts anew.
func (h *Host) Restart() {
	h.t.Helper()
	h.Kill()
	h.spawn()
}

// Log is what the process has printed, on both of its outputs. It may come later than the response to
// the invocation that printed it: wait with AwaitLog.
func (h *Host) Log() string { return h.out.String() }

// AwaitLog waits for a line that contains want.
func (h *Host) AwaitLog(ctx context.Context, want string) (string, error) {
	return h.out.Await(ctx, want)
}

// Exited is closed when the process has ended.
func (h *Host) Exited() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.proc.Done()
}

// startLimit is a busy machine's. Lambda's own limit of the init phase is 10 s.
// https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib
const startLimit = wait.Patience

func (h *Host) spawn() {
	h.t.Helper()
	asked := make(chan struct{})
	cmd := exec.Command(h.bootstrap, h.options.Args...)
	cmd.Dir = filepath.Dir(h.bootstrap)
	cmd.Env = append(h.environment(), h.options.Env...)
	h.out.Reset()
	h.mu.Lock()
	h.asked = asked
	proc, err := child.Start(cmd, &h.out)
	h.proc = proc
	h.mu.Unlock()
	if err != nil {
		h.t.Fatal(err)
	}
	go h.reap(proc)
	select {
	case <-asked:
	case <-proc.Done():
		h.t.Fatalf("%s exited with %d before its first poll:\n%s", h.bootstrap, proc.ExitCode(), h.Log())
	case <-time.After(startLimit):
		h.t.Fatalf("%s did not poll within %v:\n%s", h.bootstrap, startLimit, h.Log())
	}
}

// environment is what Lambda sets:
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
func (h *Host) environment() []string {
	return []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=en_US.UTF-8", "TZ=:UTC",
		"AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(h.server.URL, "http://"),
		"AWS_LAMBDA_FUNCTION_NAME=" + h.options.Name,
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128",
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"AWS_REGION=" + awsemu.Region, "AWS_DEFAULT_REGION=" + awsemu.Region,
		"AWS_EXECUTION_ENV=AWS_Lambda_provided.al2023",
		"LAMBDA_TASK_ROOT=" + filepath.Dir(h.bootstrap),
		"_HANDLER=bootstrap",
	}
}

// reap fails what the process held when it ended.
func (h *Host) reap(proc *child.Process) {
	<-proc.Done()
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, held := range h.inflight {
		if held.proc == proc {
			held.finish(nil, fmt.Errorf("%w: exit code %d", ErrExited, proc.ExitCode()))
			delete(h.inflight, id)
		}
	}
}
