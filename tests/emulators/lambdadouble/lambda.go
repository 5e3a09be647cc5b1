// Package lambdadouble is a stand-in for Lambda's Invoke with InvocationType Event, which no emulator
// runs: it accepts the event, answers 202, and hands the payload to a Go function.
//
// API: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
package lambdadouble

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/taskgate/taskgate/tests/emulators/awsemu"
)

// MaxPayload is the largest asynchronous event, in bytes; 262144 before October 2025. The error for
// a larger one: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors
// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const MaxPayload = 1 << 20

// Function handles one event; an error makes Lambda try again, where it has been told to.
type Function func(ctx context.Context, payload []byte) error

// Lambda is the running double. Its methods may be called from several goroutines.
type Lambda struct {
	server *httptest.Server
	ctx    context.Context

	mu        sync.Mutex
	functions map[string]function
	dropped   [][]byte
	running   sync.WaitGroup
}

type function struct {
	run     Function
	retries int
}

// New starts a double without functions, for as long as the test runs.
func New(t testing.TB) *Lambda {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &Lambda{ctx: ctx, functions: map[string]function{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2015-03-31/functions/{name}/invocations", l.invoke)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "UnknownOperationException", "the double does not serve "+r.Method+" "+r.URL.Path)
	})
	l.server = httptest.NewServer(mux)
	t.Cleanup(func() {
		l.server.Close()
		cancel()
		l.running.Wait()
	})
	return l
}

// URL is the double's endpoint.
func (l *Lambda) URL() string { return l.server.URL }

// Add makes a function. An event that fails is tried retries times more, at once: Lambda's default
// is 2 retries, after one and two minutes.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
func (l *Lambda) Add(name string, run Function, retries int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.functions[name] = function{run, retries}
}

// Wait returns when every accepted event has been handled or dropped.
func (l *Lambda) Wait() { l.running.Wait() }

// Dropped are the payloads that failed every attempt.
func (l *Lambda) Dropped() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.dropped)
}

func (l *Lambda) invoke(w http.ResponseWriter, r *http.Request) {
	payload, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	name := functionName(r.PathValue("name"))
	l.mu.Lock()
	f, known := l.functions[name]
	l.mu.Unlock()
	switch kind := r.Header.Get("X-Amz-Invocation-Type"); {
	case len(payload) > MaxPayload:
		refuse(w, http.StatusRequestEntityTooLarge, "RequestTooLargeException", fmt.Sprintf("%d byte payload is too large for the Event invocation type (limit %d bytes)", len(payload), MaxPayload))
	case !known:
		refuse(w, http.StatusNotFound, "ResourceNotFoundException", "Function not found: "+awsemu.ARN("lambda", "function:"+name))
	case len(payload) > 0 && !json.Valid(payload):
		refuse(w, http.StatusBadRequest, "InvalidRequestContentException", "Could not parse request body into json")
	case kind != "Event":
		refuse(w, http.StatusBadRequest, "InvalidParameterValueException", "the double serves InvocationType Event only, not "+kind)
	default:
		l.running.Add(1)
		go l.run(f, payload)
		w.Header().Set("X-Amzn-Requestid", "00000000-0000-0000-0000-000000000000")
		w.Header().Set("X-Amz-Executed-Version", "$LATEST")
		w.WriteHeader(http.StatusAccepted)
	}
}

func (l *Lambda) run(f function, payload []byte) {
	defer l.running.Done()
	for range f.retries + 1 {
		if err := f.run(l.ctx, payload); err == nil || l.ctx.Err() != nil {
			return
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped = append(l.dropped, payload)
}

// functionName takes a name, a partial ARN or an ARN, each with or without a qualifier:
// https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_RequestParameters
func functionName(s string) string {
	parts := strings.Split(s, ":")
	if at := slices.Index(parts, "function"); at >= 0 && at+1 < len(parts) {
		return parts[at+1]
	}
	return parts[0]
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-Errortype", code)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"Type": "User", "Message": message})
}
