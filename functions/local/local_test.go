package main_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/blackbox"
	"github.com/taskgate/taskgate/tests/wait"
)

func TestDemoWorkerRunsEachOfItsTasks(t *testing.T) {
	p := start(t, t.TempDir())
	for body, want := range map[string]string{
		`{"task_name":"add","args":[1,2]}`:                                            "3",
		`{"task_name":"add","args":[12345678901234567890,1]}`:                         "12345678901234567891",
		`{"task_name":"echo","args":[1.10],"kwargs":{"a":null}}`:                      `{"args":[1.10],"kwargs":{"a":null}}`,
		`{"task_name":"flaky"}`:                                                       "*",
		`{"task_name":"sleep","args":[0.2],"max_attempts":1}`:                         "*",
		`{"task_name":"add","args":[1,2],"delay_seconds":0.3,"queue_name":"another"}`: "3",
	} {
		doc := p.finished(p.enqueue(body).ID)
		if doc.State != task.StateSucceeded || want != "*" && string(doc.ReturnValue) != want {
			t.Errorf("%s: %s %s %v", body, doc.State, doc.ReturnValue, doc.Errors)
		}
	}
	if doc := p.finished(p.enqueue(`{"task_name":"fail"}`).ID); doc.State != task.StateFailed || len(doc.Errors) != 1 {
		t.Errorf("fail: %s %v", doc.State, doc.Errors)
	}
}

func TestPrintedCommandsWork(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		skip(t, "curl")
	}
	p := start(t, t.TempDir())
	var script []string
	for line := range strings.Lines(p.banner) {
		if strings.HasPrefix(line, "  ") {
			script = append(script, strings.TrimSpace(line))
		}
	}
	out, err := exec.Command("sh", "-ec", strings.Join(script, "\n")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"status":"SUCCESSFUL"`) || !strings.Contains(string(out), `"return_value":3`) {
		t.Errorf("%s\nanswers %s, %v", strings.Join(script, "\n"), out, err)
	}
}

// skip skips loudly; in CI a missing tool is a failure.
func skip(t *testing.T, tool string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", tool)
	}
	t.Skipf("SKIPPED: %s is missing", tool)
}

// pushed is a worker's URL that only takes messages in.
func pushed(t *testing.T) (string, *blackbox.Inbox) {
	inbox := blackbox.NewInbox()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !inbox.Put(body, nil) {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, inbox
}

func apiKey(name, scopes string) string {
	sum := sha256.Sum256([]byte("key-of-" + name))
	return name + ":" + scopes + ":" + hex.EncodeToString(sum[:])
}

func TestTheContract(t *testing.T) {
	worker, inbox := pushed(t)
	p := start(t, t.TempDir(), "TASKGATE_WORKER_URL="+worker, "TASKGATE_AUTH=keys",
		"TASKGATE_API_KEYS="+apiKey("alice", "enqueue+read")+","+apiKey("bob", "enqueue+read"))
	blackbox.Run(t, blackbox.Target{
		BaseURL: p.url, Key: "key-of-alice", OtherKey: "key-of-bob", Queue: "another", Receive: inbox.Receive,
	})
}

func TestAcceptedTasksSurviveAKill(t *testing.T) {
	dir, addr := t.TempDir(), "TASKGATE_ADDR=127.0.0.1:"+freePort(t) // messages name it, so it stays
	p := start(t, dir, addr)
	long := p.enqueue(`{"task_name":"sleep","args":[1]}`).ID
	p.until("it to run", func() bool {
		return p.document(p.send("GET", "/v1/tasks/"+long, "")).State == task.StateRunning
	})
	later := p.enqueue(`{"task_name":"add","args":[1,2],"delay_seconds":1}`).ID
	p.kill()
	p = start(t, dir, addr)
	if doc := p.finished(later); string(doc.ReturnValue) != "3" {
		t.Errorf("the delayed task: %s %v", doc.State, doc.Errors)
	}
	// The killed attempt's lease has to lapse first.
	doc := p.document(p.send("GET", "/v1/tasks/"+long, ""))
	if doc.Attempts != 1 || doc.IsFinished {
		t.Errorf("the running task: %+v", doc)
	}
}

// TestQueuedTasksSurviveAChangeOfAddressAndSecret: the messages name the
// address at which clients reached the service, and carry tokens that the secret
// of the data directory signed.
func TestQueuedTasksSurviveAChangeOfAddressAndSecret(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, `TASKGATE_TASKS={"default":{"BACKEND":"taskgate.LocalBackend","QUEUES":[],"OPTIONS":{"LOCAL_MAX_DELIVERIES":1}}}`)
	good := p.enqueue(`{"task_name":"add","args":[1,2],"delay_seconds":0.5}`).ID
	dies := p.enqueue(`{"task_name":"nobody-knows-it","delay_seconds":0.5}`).ID
	p.kill()
	p = start(t, dir, "TASKGATE_PUBLIC_URL=https://tasks.example.invalid/here", "TASKGATE_TOKEN_SECRETS="+strings.Repeat("s", 40))
	if doc := p.finished(good); string(doc.ReturnValue) != "3" {
		t.Errorf("%s %v", doc.State, doc.Errors)
	}
	if doc := p.finished(dies); doc.State != task.StateFailed {
		t.Errorf("%s %v", doc.State, doc.Errors)
	}
	if doc := p.finished(p.enqueue(`{"task_name":"add","args":[2,2]}`).ID); string(doc.ReturnValue) != "4" {
		t.Errorf("queued since: %s %v", doc.State, doc.Errors)
	}
}

func TestDeadLettersCommandFailsForAMissingDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mistyped")
	cmd := exec.Command(binary, "dead-letters")
	cmd.Env = []string{"TASKGATE_DATA=" + dir}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), dir) {
		t.Errorf("%v, %s", err, out)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory was made")
	}
}

func TestSecondProcessOnTheSameDataIsRefused(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	second := exec.Command(binary)
	second.Env = []string{"TASKGATE_DATA=" + dir, "TASKGATE_ADDR=127.0.0.1:0"}
	out, err := second.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(out), dir) {
		t.Errorf("the second process: %v, %s", err, out)
	}
	p.enqueue(`{"task_name":"add","args":[1,2]}`)
}

func TestServiceStopsOnSIGTERM(t *testing.T) {
	p := start(t, t.TempDir())
	id := p.enqueue(`{"task_name":"sleep","args":[0.3]}`).ID
	p.until("it to run", func() bool {
		return p.document(p.send("GET", "/v1/tasks/"+id, "")).State == task.StateRunning
	})
	later := p.enqueue(`{"task_name":"add","args":[1,2],"delay_seconds":3600}`).ID
	waiting := make(chan struct{})
	go func() { // a request that outlives the stop must not make it a failure
		close(waiting)
		_, _, _ = p.try(t.Context(), "GET", "/v1/tasks/"+later+"?wait=20", "")
	}()
	<-waiting
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-p.exited:
		p.exited <- err
		if err != nil {
			t.Errorf("it ended with %v: %s", err, p.log)
		}
	case <-time.After(wait.Patience):
		t.Error("it does not stop")
	}
}

func TestAllMistakesInTheSettingsAreReportedTogether(t *testing.T) {
	cmd := exec.Command(binary)
	cmd.Env = []string{
		"TASKGATE_DATA=" + t.TempDir(),
		"TASKGATE_ADDR=0.0.0.0:0", "TASKGATE_PUBLC_URL=https://x", "TASKGATE_RESULT_TTL=soon",
		`TASKGATE_TASKS={"default":{"BACKEND":"cloud_tasks_aws.backends.SQSBackend","OPTIONS":{"AWS_DEFAULT_QUEUE_NAME":"q"}}}`,
	}
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("it started")
	}
	for _, want := range []string{"loopback", "TASKGATE_PUBLIC_URL", "TASKGATE_RESULT_TTL", "functions/aws"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not mentioned in: %s", want, out)
		}
	}
}

// TestPythonWorkerRunsTasks runs the example that docs/workers.md shows.
func TestPythonWorkerRunsTasks(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		skip(t, "python3")
	}
	port := freePort(t)
	p := start(t, t.TempDir(), "TASKGATE_WORKER_URL=http://127.0.0.1:"+port)
	examples, err := filepath.Abs("../../docs/examples/python")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	worker := exec.CommandContext(ctx, python, filepath.Join(examples, "worker.py"), "--port", port)
	worker.Env = append(os.Environ(), "TASKGATE_EVENTS_BASE="+p.url)
	var log lockedBuffer
	worker.Stdout, worker.Stderr = &log, &log
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = worker.Wait() })
	enqueue := exec.Command(python, filepath.Join(examples, "enqueue.py"), "add", "1", "2")
	enqueue.Env = append(os.Environ(), "TASKS_URL="+p.url)
	out, err := enqueue.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "SUCCESSFUL") || !strings.Contains(string(out), "3") {
		t.Errorf("%s, %v; the worker's log: %s", out, err, log.String())
	}
}

func freePort(t *testing.T) string {
	server := httptest.NewServer(nil)
	defer server.Close()
	return server.URL[strings.LastIndexByte(server.URL, ':')+1:]
}

// fickle is a worker's URL whose answers depend on the task's name.
func fickle(t *testing.T, answers map[string]http.HandlerFunc) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer := answers[r.Header.Get("Taskgate-Task-Name")]; answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestBadWorkerDoesNotBlockOtherTasks(t *testing.T) {
	crash := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	released := make(chan struct{})
	worker := fickle(t, map[string]http.HandlerFunc{
		"crashes": crash,
		"refuses": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"garbage": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "soon")
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte("\x00garbage"))
		},
		"redirects": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"hangs":     func(http.ResponseWriter, *http.Request) { <-released },
	})
	t.Cleanup(func() { close(released) }) // before the server waits for its handlers
	p := start(t, t.TempDir(), "TASKGATE_WORKER_URL="+worker,
		`TASKGATE_TASKS={"default":{"BACKEND":"taskgate.LocalBackend","QUEUES":[],"OPTIONS":{"LOCAL_MAX_DELIVERIES":2}}}`)
	var hanging []string
	for range 10 {
		hanging = append(hanging, p.enqueue(`{"task_name":"hangs"}`).ID)
	}
	for _, name := range []string{"crashes", "refuses", "garbage", "redirects"} {
		doc := p.finished(p.enqueue(`{"task_name":"` + name + `"}`).ID)
		if doc.State != task.StateFailed || len(doc.Errors) != 1 || !strings.HasPrefix(doc.Errors[0].Traceback, "dead-lettered") {
			t.Errorf("%s: %s %+v", name, doc.State, doc.Errors)
		}
	}
	for _, id := range hanging {
		if doc := p.document(p.send("GET", "/v1/tasks/"+id, "")); doc.State != task.StateQueued {
			t.Errorf("a task whose worker hangs is %s", doc.State)
		}
	}
}
