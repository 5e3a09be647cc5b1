// Package functionshost runs an Azure Functions custom handler from a deployable folder, as the
// Functions host does: it reads host.json and the function.json files, spawns the handler, forwards
// HTTP requests to it, and feeds it from Storage and Service Bus queues.
//
// It follows the host's source (github.com/Azure/azure-functions-host, src/WebJobs.Script/Workers/Http)
// and https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers.
package functionshost

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/taskgate/taskgate/tests/emulators/internal/child"
	"github.com/taskgate/taskgate/tests/wait"
)

const (
	readyPoll    = 25 * time.Millisecond // WorkerReadyCheckPollingIntervalMilliseconds
	readyLimit   = wait.Patience         // a busy machine's; HttpWorkerOptions.InitializationTimeout is 30 s
	maxErrors    = 3                     // HttpFunctionInvocationDispatcher.RestartWorkerChannel
	exitRestart  = 200                   // an exit code that asks for a restart and is no error
	hostVersion  = "4.1037.0.0"
	stopPatience = 5 * time.Second
)

// Options configure a Host.
type Options struct {
	// Settings are the app settings: the handler's environment, the bindings' connections, and what
	// %NAME% stands for in function.json. Nothing is inherited from the test.
	Settings map[string]string
	// Keys are the function keys, by function; HostKey opens all functions.
	Keys    map[string]string
	HostKey string
	// Plain sends strings of a payload as the documentation shows them. The host's source encodes
	// them as JSON once more, which is the default here; handlers have to take both.
	Plain bool
}

// Host is one running host. Its methods may be called from several goroutines.
type Host struct {
	t         testing.TB
	dir       string
	options   Options
	config    hostConfig
	functions []function
	timeout   time.Duration // of an invocation; 0 = none
	server    *httptest.Server
	out       child.Output
	ctx       context.Context
	cancel    context.CancelFunc
	work      sync.WaitGroup

	mu      sync.Mutex
	proc    *child.Process
	handler string // base URL of the running handler; empty while there is none
	errors  int
	starts  int
	stopped bool          // for good
	change  chan struct{} // closed and replaced when any of these changes
}

// Start reads dir, which holds host.json, and spawns the handler; it returns when the handler answers.
// The handler is killed when the test ends; its output is shown if the test failed.
func Start(t testing.TB, dir string, options Options) *Host {
	t.Helper()
	config, functions, err := load(dir, options.Settings)
	if err != nil {
		t.Fatal(err)
	}
	timeout, err := functionTimeout(config, options.Settings)
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{t: t, dir: dir, options: options, config: config, functions: functions, timeout: timeout, change: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.server = httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(func() {
		h.Stop()
		if t.Failed() {
			t.Logf("the handler printed:\n%s", h.Log())
		}
	})
	h.work.Go(h.supervise)
	ctx, cancel := context.WithTimeout(h.ctx, readyLimit)
	defer cancel()
	if err := h.AwaitStart(ctx, 1); err != nil {
		t.Fatalf("the handler did not start: %v\n%s", err, h.Log())
	}
	for _, f := range functions {
		if err := h.listen(f); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// URL is the host's address, to which the route prefix and routes are relative.
func (h *Host) URL() string { return h.server.URL }

// Log is what the handler has printed, over all its lives.
func (h *Host) Log() string { return h.out.String() }

// AwaitLog waits for a line that contains want, over restarts of the handler.
func (h *Host) AwaitLog(ctx context.Context, want string) (string, error) {
	for {
		line, err := h.out.Await(ctx, want)
		if !errors.Is(err, child.ErrEnded) {
			return line, err
		}
		err = h.await(ctx, func() (bool, error) {
			if h.stopped {
				return false, fmt.Errorf("the host has shut down without printing %q", want)
			}
			select {
			case <-h.proc.Done():
				return false, nil
			default:
				return true, nil
			}
		})
		if err != nil {
			return "", err
		}
	}
}

// KillHandler ends the handler with SIGKILL, which the host takes for an error and answers with a
// restart, the third time with its own end.
func (h *Host) KillHandler() {
	h.mu.Lock()
	proc := h.proc
	h.mu.Unlock()
	proc.Kill()
}

// Goroutines ends the handler with SIGQUIT, on which Go's runtime prints the stacks of all goroutines,
// and returns those that match. The host takes it for an error, as with KillHandler.
func (h *Host) Goroutines(match *regexp.Regexp) []string {
	h.mu.Lock()
	proc := h.proc
	h.mu.Unlock()
	return proc.Goroutines(h.t, match)
}

// Stop ends the host and the handler, without a warning to the latter.
func (h *Host) Stop() {
	h.cancel()
	h.mu.Lock()
	proc := h.proc
	h.mu.Unlock()
	if proc != nil {
		proc.Kill()
	}
	h.work.Wait()
	h.server.Close()
}

// AwaitStart waits until the handler has become ready for the nth time (from 1), or fails if the host
// has given up.
func (h *Host) AwaitStart(ctx context.Context, n int) error {
	return h.await(ctx, func() (bool, error) {
		if h.stopped && h.starts < n {
			return false, fmt.Errorf("the host has shut down after %d starts", h.starts)
		}
		return h.starts >= n && h.handler != "", nil
	})
}

// AwaitShutdown waits until the host has given the handler up: it exited with 0, or failed too often.
func (h *Host) AwaitShutdown(ctx context.Context) error {
	return h.await(ctx, func() (bool, error) { return h.stopped, nil })
}

// await waits for a condition that is evaluated under the lock.
func (h *Host) await(ctx context.Context, done func() (bool, error)) error {
	for {
		h.mu.Lock()
		ok, err := done()
		change := h.change
		h.mu.Unlock()
		if ok || err != nil {
			return err
		}
		select {
		case <-change:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// update changes the state under the lock and wakes whoever waits for it.
func (h *Host) update(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.change)
	h.change = make(chan struct{})
}
