// Package examples runs the Python examples against a scripted service.
package examples

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

// patience is how long a test waits for a Python process on a busy machine.
const patience = time.Minute

// python returns a Python that has what a test needs; without one the test is skipped.
func python(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("python3 is missing")
		}
		t.Skip("SKIPPED: python3 is missing")
	}
	return path
}

// environ is the environment of this process without the variables that the examples read.
func environ(more ...string) (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TASKS_") && !strings.HasPrefix(v, "TASKGATE_") {
			env = append(env, v)
		}
	}
	return append(env, more...)
}

// event is an event that the worker sends.
type event struct {
	Type        string
	Attempt     int
	ReturnValue json.RawMessage `json:"return_value"`
	Retryable   bool
	Error       struct {
		ExceptionClassPath string `json:"exception_class_path"`
		Traceback          string
	}
}

// service takes events as taskgate does.
type service struct {
	*httptest.Server
	mu     sync.Mutex
	events map[string][]event                        // by the task's id
	answer func(w http.ResponseWriter, e event) bool // false = the usual answer
}

func newService(t *testing.T, answer func(w http.ResponseWriter, e event) bool) *service {
	s := &service{answer: answer, events: map[string][]event{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Errorf("the worker sent an event that is not JSON: %v", err)
		}
		s.mu.Lock()
		id := strings.Split(r.URL.Path, "/")[3]
		s.events[id] = append(s.events[id], e)
		s.mu.Unlock()
		if s.answer != nil && s.answer(w, e) {
			return
		}
		_, _ = fmt.Fprintf(w, `{"acknowledge":%t,"attempt":1,"cancel_requested":false,"task":{}}`, e.Type == "succeeded" || e.Type == "failed" && !e.Retryable)
	}))
	t.Cleanup(s.Close)
	return s
}

// reported returns the types of a task's events so far, and the last event.
func (s *service) reported(id string) (types string, last event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events[id] {
		types = strings.TrimSpace(types + " " + e.Type)
		last = e
	}
	return types, last
}

// tasks are the tasks of the worker under test, beside those of worker.py.
const tasks = `
import sys, time
sys.argv = ["worker.py", "--port", "0"]
import worker

class Hostile(Exception):
    def __str__(self):
        raise SystemExit("from __str__")

def exits(): raise SystemExit(3)
def interrupts(): raise KeyboardInterrupt
def hostile(): raise Hostile
def own(): raise BaseException("bare")
def a_set(): return {1}
def nan(): return float("nan")
def bytes_(): return b"x"
def cycle():
    c = []
    c.append(c)
    return c
def long_text(): raise ValueError("BEGIN" + "é" * 100_000 + "END")
def surrogate(): raise ValueError("\ud800")
def count(n): return n
def wait(seconds):
    time.sleep(seconds)
    return seconds
def permanent(): raise worker.Permanent("no")

worker.TASKS.update(exits=exits, interrupts=interrupts, hostile=hostile, own=own, a_set=a_set, nan=nan,
    bytes=bytes_, cycle=cycle, long_text=long_text, surrogate=surrogate, count=count, permanent=permanent, wait=wait)
worker.main()
`

// startWorker starts worker.py with the tasks above, and returns the URL that takes pushes.
func startWorker(t *testing.T, base string) string {
	t.Helper()
	cmd := exec.Command(python(t), "-c", tasks)
	cmd.Env = environ("TASKGATE_EVENTS_BASE="+base, "PYTHONDONTWRITEBYTECODE=1", "PYTHONIOENCODING=ascii:strict", "TASKS_LEASE_SECONDS=5")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var line []byte
	for b := make([]byte, 1); !bytes.HasSuffix(line, []byte("\n")); line = append(line, b...) {
		if _, err := stdout.Read(b); err != nil {
			t.Fatalf("the worker does not start: %v after %q", err, line)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	_, rest, _ := strings.Cut(string(line), "listening on ")
	url, _, _ := strings.Cut(rest, ",")
	return url
}

func push(t *testing.T, worker, base, id, task, args, more string) *http.Response {
	t.Helper()
	body := fmt.Sprintf(`{"task_name":%q,"args":%s,"kwargs":{},"id":%q,"v":1,"events_url":"%s/v1/tasks/%[3]s/events","token":"v1.a.b"%[5]s}`, task, args, id, base, more)
	res, err := (&http.Client{Timeout: patience}).Post(worker, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatalf("%s: the worker does not answer: %v", task, err)
	}
	_ = res.Body.Close()
	return res
}

func TestWorkerReportsWhateverATaskDoes(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("9", 5000)
	s := newService(t, nil)
	worker := startWorker(t, s.URL)
	for name, c := range map[string]struct {
		task, args string
		retryable  bool
		class      string
		text       string
	}{
		"SystemExit":                 {"exits", "[]", true, "builtins.SystemExit", "SystemExit: 3"},
		"KeyboardInterrupt":          {"interrupts", "[]", true, "builtins.KeyboardInterrupt", "KeyboardInterrupt"},
		"a bare BaseException":       {"own", "[]", true, "builtins.BaseException", "bare"},
		"an exception without text":  {"hostile", "[]", true, "builtins.Exception", "Hostile"},
		"a set as result":            {"a_set", "[]", false, "builtins.Exception", "the result is not JSON"},
		"bytes as result":            {"bytes", "[]", false, "builtins.Exception", "the result is not JSON"},
		"NaN as result":              {"nan", "[]", false, "builtins.Exception", "the result is not JSON"},
		"a cycle as result":          {"cycle", "[]", false, "builtins.Exception", "the result is not JSON"},
		"half a surrogate pair":      {"surrogate", "[]", true, "builtins.ValueError", "ValueError: \ufffd"},
		"an unknown task":            {"nobody", "[]", true, "builtins.LookupError", "no task 'nobody'"},
		"a task not of ASCII":        {"größe", "[]", true, "builtins.LookupError", "no task 'größe'"},
		"wrong arguments":            {"count", "[1,2]", false, "builtins.Exception", "too many positional"},
		"an integer of 5,000 digits": {"count", "[" + long + "]", false, "builtins.Exception", "the arguments cannot be read: Exceeds the limit"},
		"a float beyond the range":   {"count", "[1e400]", false, "builtins.Exception", "the arguments cannot be read: 1e400"},
		"Permanent":                  {"permanent", "[]", false, "builtins.Exception", "Permanent: no"},
	} {
		id := strings.Trim(strings.Map(func(r rune) rune {
			if r < 'a' || r > 'z' {
				return '-'
			}
			return r
		}, name), "-")
		res := push(t, worker, s.URL, id, c.task, c.args, "")
		types, last := s.reported(id)
		if types != "started failed" || last.Retryable != c.retryable || last.Error.ExceptionClassPath != c.class || !strings.Contains(last.Error.Traceback, c.text) {
			t.Errorf("%s: %s, retryable %t, %s\n%s", name, types, last.Retryable, last.Error.ExceptionClassPath, last.Error.Traceback)
		}
		if want := map[bool]int{true: 500, false: 204}[c.retryable]; res.StatusCode != want {
			t.Errorf("%s: the push is answered %d, want %d", name, res.StatusCode, want)
		}
	}
}

func TestWorkerKeepsBothEndsOfALongTraceback(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	push(t, startWorker(t, s.URL), s.URL, "1", "long_text", "[]", "")
	_, last := s.reported("1")
	text := last.Error.Traceback
	if n := utf8.RuneCountInString(text); n > 65536 || n < 65000 || !strings.HasPrefix(text, "Traceback (most recent") || !strings.HasSuffix(text, "END\n") ||
		!strings.Contains(text, "BEGIN") || !strings.Contains(text, "characters are left out") {
		t.Errorf("%d characters: %.60q … %q", n, text, text[max(0, len(text)-60):])
	}
}

func TestWorkerReportsOffloadedArgumentsThatItCannotRead(t *testing.T) {
	t.Parallel()
	s := newService(t, func(w http.ResponseWriter, e event) bool {
		if e.Type == "started" {
			_, _ = fmt.Fprintf(w, `{"acknowledge":false,"attempt":1,"args":[%s],"kwargs":{}}`, strings.Repeat("9", 5000))
		}
		return e.Type == "started"
	})
	res := push(t, startWorker(t, s.URL), s.URL, "1", "count", "[]", `,"offloaded":true`)
	types, last := s.reported("1")
	if types != "started failed" || last.Retryable || res.StatusCode != 204 || !strings.Contains(last.Error.Traceback, "the arguments cannot be read") {
		t.Errorf("%s, answered %d: %s", types, res.StatusCode, last.Error.Traceback)
	}
}

// TestWorkerGoesOnThroughAnswersThatSayNothing: the lease is 5 s, so a sleep of
// 4 s sends two heartbeats.
func TestWorkerGoesOnThroughAnswersThatSayNothing(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(http.ResponseWriter){
		"a gateway's 404":    func(w http.ResponseWriter) { http.Error(w, "<html>", 404) },
		"a gateway's 410":    func(w http.ResponseWriter) { http.Error(w, `{"message":"Gone"}`, http.StatusGone) },
		"503 with a problem": func(w http.ResponseWriter) { http.Error(w, `{"code":"unknown-task"}`, http.StatusServiceUnavailable) },
		"503 and an absurd wait": func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", strings.Repeat("9", 5000))
			w.WriteHeader(503)
		},
		"JSON that is nested deep": func(w http.ResponseWriter) { _, _ = io.WriteString(w, strings.Repeat("[", 100_000)) },
		"a hang-up":                func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, func(w http.ResponseWriter, e event) bool {
				if e.Type == "heartbeat" {
					answer(w)
				}
				return e.Type == "heartbeat"
			})
			res := push(t, startWorker(t, s.URL), s.URL, "1", "wait", "[4]", "")
			types, _ := s.reported("1")
			if res.StatusCode != 204 || !strings.Contains(types, "heartbeat") || !strings.HasSuffix(types, "succeeded") {
				t.Errorf("answered %d after %s", res.StatusCode, types)
			}
		})
	}
}

func TestWorkerPassesOnARetryAfterOfAtMostAnHour(t *testing.T) {
	t.Parallel()
	header := make(chan string, 1)
	s := newService(t, func(w http.ResponseWriter, _ event) bool {
		w.Header().Set("Retry-After", <-header)
		http.Error(w, `{"code":"lease-held","acknowledge":false}`, http.StatusConflict)
		return true
	})
	worker := startWorker(t, s.URL)
	for given, want := range map[string]string{
		"17": "17", "0017": "17", "99999999999999999999": "3600", strings.Repeat("9", 5000): "3600", "-5": "", "soon": "", "1.5": "", "٣": "",
		"Fri, 31 Dec 9999 23:59:59 GMT": "3600", "Sat, 01 Jan 2000 00:00:00 GMT": "", "Fri, 99 Dec 99999 23:59:59 GMT": "",
	} {
		header <- given
		res := push(t, worker, s.URL, "1", "count", "[1]", "")
		if got := res.Header.Get("Retry-After"); res.StatusCode != 500 || got != want {
			t.Errorf("%.40s: answered %d, Retry-After %q, want %q", given, res.StatusCode, got, want)
		}
	}
}

// run runs one of the examples to its end.
func run(t *testing.T, env []string, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, python(t), args...)
	cmd.Env = environ(append(env, "PYTHONDONTWRITEBYTECODE=1")...)
	text, _ := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Errorf("%v does not end: %s", args, text)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

func TestSettingsThatCannotWorkFailAtOnceAndShowNoSecret(t *testing.T) {
	t.Parallel()
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests++ }))
	defer server.Close()
	const secret = "CANARY"
	// --patience is a minute: an example that tries again does not end in time.
	for _, c := range []struct {
		env   string
		args  []string
		names string
	}{
		{"TASKS_API_KEY=" + secret + "\n", nil, "TASKS_API_KEY"},
		{"TASKS_API_KEY=" + secret + "\r\nX: y", nil, "TASKS_API_KEY"},
		{"TASKS_API_KEY= " + secret, nil, "TASKS_API_KEY"},
		{"TASKS_API_KEY=ü" + secret, nil, "TASKS_API_KEY"},
		{"TASKS_URL=http://me:" + secret + "@127.0.0.1:1", nil, "TASKS_URL"},
		{"TASKS_URL=http://127.0.0.1:" + secret, nil, "TASKS_URL"},
		{"TASKS_URL=" + server.URL + "\n", nil, "TASKS_URL"},
		{"TASKS_URL=127.0.0.1:8080", nil, "TASKS_URL"},
		{"A=b", []string{"--key", secret + "\n"}, "--key"},
		{"A=b", []string{"--key", ""}, "--key"},
	} {
		out, code := run(t, []string{"TASKS_URL=" + server.URL, c.env}, append([]string{"enqueue.py", "add", "1", "--patience", "600"}, c.args...)...)
		if code != 1 || strings.Contains(out, secret) || !strings.Contains(out, c.names) || strings.Count(out, "\n") != 1 {
			t.Errorf("%q %q: exit %d, %s", c.env, c.args, code, out)
		}
	}
	for _, base := range []string{"http://me:" + secret + "@127.0.0.1:1", server.URL + "\n", server.URL + " ", "127.0.0.1:8080"} {
		out, code := run(t, []string{"TASKGATE_EVENTS_BASE=" + base}, "worker.py", "--port", "0")
		if code != 1 || strings.Contains(out, secret) || !strings.Contains(out, "TASKGATE_EVENTS_BASE") {
			t.Errorf("%q: exit %d, %s", base, code, out)
		}
	}
	if requests > 0 {
		t.Errorf("%d requests were sent", requests)
	}
}

func TestEnqueueCarriesIntegersOfAnyLength(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("9", 5000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if body, _ := io.ReadAll(r.Body); !strings.Contains(string(body), "["+long+"]") {
				t.Errorf("sent %.100s", body)
			}
			w.WriteHeader(202)
		}
		_, _ = fmt.Fprintf(w, `{"id":"1","status":"SUCCESSFUL","state":"SUCCEEDED","is_finished":true,"return_value":%s,"errors":[]}`, long)
	}))
	defer server.Close()
	if out, code := run(t, []string{"TASKS_URL=" + server.URL}, "enqueue.py", "count", long); code != 0 || !strings.Contains(out, long) {
		t.Errorf("exit %d: %.200s", code, out)
	}
}

func TestEnqueueEndsWhenItsPatienceDoesWhateverRetryAfterSays(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int{"the request": 503, "the look-up": 202} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", strings.Repeat("9", 5000))
			if r.Method == http.MethodPost && status == 202 {
				w.WriteHeader(202)
				_, _ = io.WriteString(w, `{"id":"1"}`)
				return
			}
			w.WriteHeader(503)
		}))
		if out, code := run(t, []string{"TASKS_URL=" + server.URL}, "enqueue.py", "add", "--patience", "1"); code != 1 || !strings.Contains(out, "not ") {
			t.Errorf("%s: exit %d: %s", name, code, out)
		}
		server.Close()
	}
}
