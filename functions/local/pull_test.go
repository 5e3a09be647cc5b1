package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/worker"
	"github.com/taskgate/taskgate/tests/apitest"
)

// received is one item of a receive.
type received struct {
	Message struct {
		ID       string `json:"id"`
		TaskName string `json:"task_name"`
		Token    string `json:"token"`
	} `json:"message"`
	Attributes    map[string]string `json:"attributes"`
	DeliveryCount int               `json:"delivery_count"`
}

// receive fetches messages of a queue.
func (p *process) receive(queue, body string, headers ...string) []received {
	p.Helper()
	status, answer := p.send("POST", "/v1/queues/"+queue+"/receive", body, headers...)
	var page struct{ Items []received }
	if err := json.Unmarshal(answer, &page); status != 200 || err != nil {
		p.Fatalf("receive: %d %s %v", status, answer, err)
	}
	return page.Items
}

// receiveOne fetches the one message that is due.
func (p *process) receiveOne(queue, body string) received {
	p.Helper()
	items := p.receive(queue, body)
	if len(items) != 1 {
		p.Fatalf("received %+v, want one message", items)
	}
	return items[0]
}

// report sends an event and returns whether to acknowledge.
func (p *process) report(m received, event string) bool {
	p.Helper()
	status, answer := p.send("POST", "/v1/tasks/"+m.Message.ID+"/events", event, "Taskgate-Token", m.Message.Token)
	var a struct{ Acknowledge bool }
	if err := json.Unmarshal(answer, &a); status != 200 || err != nil {
		p.Fatalf("%s: %d %s %v", event, status, answer, err)
	}
	return a.Acknowledge
}

const startedEvent = `{"type":"started","worker_id":"w","delivery_id":"%s","lease_seconds":45}`

func pulling(t *testing.T, dir string, environ ...string) *process {
	return start(t, dir, append(environ, "TASKGATE_WORKER_URL=none")...)
}

func TestFetchedMessageSurvivesKillsUntilItsTaskEnds(t *testing.T) {
	dir := t.TempDir()
	p := pulling(t, dir)
	id := p.enqueue(`{"task_name":"t","args":[1.10]}`).ID
	m := p.receiveOne("default", `{"wait":5}`)
	if m.Message.ID != id || m.DeliveryCount != 1 || m.Attributes[task.AttributeTaskID] != id {
		t.Fatalf("received %+v", m)
	}
	p.kill()
	p = pulling(t, dir)
	if items := p.receive("default", `{}`); len(items) != 0 {
		t.Errorf("after a kill, a hidden message was handed out: %+v", items)
	}
	if p.report(m, fmt.Sprintf(startedEvent, "d")) {
		t.Error("started is acknowledged")
	}
	if !p.report(m, `{"type":"succeeded","attempt":1,"return_value":3}`) {
		t.Error("succeeded is not acknowledged")
	}
	p.kill()
	p = pulling(t, dir)
	if doc := p.finished(id); string(doc.ReturnValue) != "3" {
		t.Errorf("%+v", doc)
	}
	if items := p.receive("default", `{}`); len(items) != 0 {
		t.Errorf("the message of a finished task was handed out: %+v", items)
	}
}

func TestFetchedMessageIsRedelivered(t *testing.T) {
	t.Parallel()
	p := pulling(t, t.TempDir())
	p.enqueue(`{"task_name":"t","queue_name":"mail"}`)
	fetch := func(delivery int) received {
		t.Helper()
		m := p.receiveOne("mail", `{"wait":20,"visibility_seconds":5}`)
		if m.DeliveryCount != delivery {
			t.Fatalf("delivery %d, want %d", m.DeliveryCount, delivery)
		}
		return m
	}
	first := fetch(1)
	p.report(first, `{"type":"released","delivery_id":"one"}`) // due now, and not counted
	second := fetch(1)
	p.report(first, `{"type":"released","delivery_id":"one"}`) // repeated: it must not give the second delivery back
	if items := p.receive("mail", `{"max":1}`); len(items) != 0 {
		t.Errorf("a repeated event has released the next delivery: %+v", items)
	}
	p.report(second, `{"type":"released","delivery_id":"two"}`)
	fetch(1) // and forgotten: its visibility ends
	m := fetch(2)
	p.report(m, fmt.Sprintf(startedEvent, "one"))
	status, answer := p.send("POST", "/v1/tasks/"+m.Message.ID+"/events", `{"type":"released","delivery_id":"three"}`, "Taskgate-Token", m.Message.Token)
	if status != 409 || !strings.Contains(string(answer), "lease-held") {
		t.Errorf("released under a lease: %d %s", status, answer)
	}
	failed := `{"type":"failed","attempt":1,"retryable":true,"error":{"exception_class_path":"builtins.Exception","traceback":"t"}}`
	p.report(m, failed) // comes again after a backoff
	m = fetch(3)
	p.report(m, fmt.Sprintf(startedEvent, "two"))
	p.report(m, failed) // repeated: it moves nothing of the attempt that runs
	if items := p.receive("mail", `{"wait":6}`); len(items) != 0 {
		t.Errorf("a repeated event has released the message: %+v", items)
	}
	if !p.report(m, `{"type":"succeeded","attempt":2}`) {
		t.Error("succeeded is not acknowledged")
	}
}

func TestDeadLettersOfFetchedMessagesAreReportedByTheProcess(t *testing.T) {
	t.Parallel()
	p := pulling(t, t.TempDir(), `TASKGATE_TASKS={"default":{"BACKEND":"taskgate.LocalBackend","QUEUES":[],"OPTIONS":{"LOCAL_MAX_DELIVERIES":1}}}`)
	id := p.enqueue(`{"task_name":"t"}`).ID
	m := p.receiveOne("default", `{"wait":5}`)
	p.report(m, fmt.Sprintf(startedEvent, "d"))
	p.report(m, `{"type":"failed","attempt":1,"retryable":true,"error":{"exception_class_path":"builtins.Exception","traceback":"t"}}`)
	if doc := p.finished(id); doc.State != task.StateFailed || !strings.HasPrefix(doc.Errors[len(doc.Errors)-1].Traceback, "dead-lettered") {
		t.Errorf("%+v", doc)
	}
}

func TestMessageOfAnEndedTaskIsRemovedByTheAnswer(t *testing.T) {
	t.Parallel()
	p := pulling(t, t.TempDir())
	id := p.enqueue(`{"task_name":"t","expires_at":"` + time.Now().Add(time.Second).UTC().Format(time.RFC3339Nano) + `"}`).ID
	if doc := p.finished(id); doc.State != task.StateExpired { // a look-up has written it
		t.Fatalf("%+v", doc)
	}
	m := p.receiveOne("default", `{"wait":5,"visibility_seconds":5}`)
	status, answer := p.send("POST", "/v1/tasks/"+id+"/events", fmt.Sprintf(startedEvent, "d"), "Taskgate-Token", m.Message.Token)
	if status != 410 || !strings.Contains(string(answer), `"acknowledge":true`) {
		t.Errorf("started: %d %s", status, answer)
	}
	if items := p.receive("default", `{"wait":7}`); len(items) != 0 {
		t.Errorf("an acknowledged message comes again: %+v", items)
	}
}

func TestReceiveNeedsTheScopeAndAPullBackend(t *testing.T) {
	t.Parallel()
	p := pulling(t, t.TempDir(), "TASKGATE_AUTH=keys",
		"TASKGATE_API_KEYS="+apiKey("alice", "enqueue+read")+","+apiKey("worker", "work"),
		`TASKGATE_TASKS={"default":{"BACKEND":"taskgate.LocalBackend","QUEUES":["mail"]}}`)
	alice, worker := "Bearer key-of-alice", "Bearer key-of-worker"
	if status, answer := p.send("POST", "/v1/tasks", `{"task_name":"t","queue_name":"mail"}`, "Authorization", alice); status != 202 {
		t.Fatalf("enqueue: %d %s", status, answer)
	}
	if items := p.receive("mail", `{"wait":5}`, "Authorization", worker); len(items) != 1 {
		t.Errorf("another caller's message was not handed out: %+v", items)
	}
	pushes := start(t, t.TempDir())
	for name, c := range map[string]struct {
		p                   *process
		queue, body, header string
		status              int
		code                string
	}{
		"no scope":           {p, "mail", `{}`, alice, 403, "forbidden"},
		"no key":             {p, "mail", `{}`, "Basic eA==", 401, "unauthenticated"},
		"another queue":      {p, "males", `{}`, worker, 422, "unknown-queue"},
		"another backend":    {p, "mail", `{"backend":"x"}`, worker, 422, "unknown-backend"},
		"too many":           {p, "mail", `{"max":33}`, worker, 422, "invalid-receive"},
		"too long a wait":    {p, "mail", `{"wait":20.1}`, worker, 422, "invalid-receive"},
		"too short a lease":  {p, "mail", `{"visibility_seconds":4}`, worker, 422, "invalid-receive"},
		"an unknown member":  {p, "mail", `{"limit":1}`, worker, 422, "invalid-receive"},
		"pushed, not pulled": {pushes, "default", `{}`, "Basic eA==", 422, "receive-unsupported"},
	} {
		loose := apitest.Client{URL: c.p.url, HTTP: http.DefaultClient} // some of these break the contract
		status, answer, err := loose.Send(t.Context(), "POST", "/v1/queues/"+c.queue+"/receive", c.body, "Authorization", c.header)
		if err != nil || status != c.status || !strings.Contains(string(answer), `"`+c.code+`"`) {
			t.Errorf("%s: %d %s, want %d %s", name, status, answer, c.status, c.code)
		}
	}
}

func TestFilesWithSecretsMustBePrivate(t *testing.T) {
	long := strings.Repeat("s", 32)
	for name, c := range map[string]struct {
		secret string
		mode   os.FileMode
		db     os.FileMode
		want   string // in the error; "" = it starts
	}{
		"good":                       {long, 0o600, 0o700, ""},
		"read-only":                  {long, 0o400, 0o700, ""},
		"a group's database":         {long, 0o600, 0o770, ""}, // a Kubernetes volume with fsGroup
		"short":                      {long[1:], 0o600, 0o700, "31 bytes"},
		"empty":                      {"", 0o600, 0o700, "0 bytes"},
		"readable by the group":      {long, 0o640, 0o700, "chmod go="},
		"readable by all":            {"x", 0o644, 0o700, "chmod go="},
		"a database readable by all": {long, 0o600, 0o755, "chmod o="},
	} {
		dir := t.TempDir()
		path, db := filepath.Join(dir, "token-secret"), filepath.Join(dir, "db")
		if err := os.WriteFile(path, []byte(c.secret), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(db, 0o700); err != nil {
			t.Fatal(err)
		}
		for path, mode := range map[string]os.FileMode{path: c.mode, db: c.db} {
			if err := os.Chmod(path, mode); err != nil { // whatever the umask
				t.Fatal(err)
			}
		}
		if c.want == "" {
			start(t, dir).kill()
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, binary)
		cmd.Env = []string{"TASKGATE_DATA=" + dir, "TASKGATE_ADDR=127.0.0.1:0"}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) || !strings.Contains(string(out), dir) {
			t.Errorf("%s: %v, %s", name, err, out)
		}
	}
}

// TestGoWorkerFetchesItsMessages: the kit of core/worker, against the real binary
// that is killed in between.
func TestGoWorkerFetchesItsMessages(t *testing.T) {
	t.Parallel()
	dir, addr := t.TempDir(), "TASKGATE_ADDR=127.0.0.1:"+freePort(t)
	p := pulling(t, dir, addr)
	w, err := worker.New(worker.Config{
		EventsBase: p.url, Log: slog.New(slog.DiscardHandler),
		Handler: worker.HandlerFunc(func(_ context.Context, t *worker.Task) (any, error) {
			var n int
			err := t.Args(&n)
			return n + 1, err
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- worker.Puller{Worker: w, Queue: "mail", Concurrency: 4}.Run(ctx) }()
	var ids []string
	for n := range 40 {
		if n == 20 {
			p.kill()
			p = pulling(t, dir, addr)
		}
		ids = append(ids, p.enqueue(fmt.Sprintf(`{"task_name":"t","args":[%d],"queue_name":"mail"}`, n)).ID)
	}
	for n, id := range ids {
		if doc := p.finished(id); string(doc.ReturnValue) != fmt.Sprint(n+1) {
			t.Errorf("task %d: %s %s", n, doc.State, doc.ReturnValue)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	if err := (worker.Puller{Worker: w, Queue: "mail", Backend: "nope"}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "unknown-backend") {
		t.Errorf("of an unknown backend: %v", err)
	}
}
