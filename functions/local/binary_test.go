package main_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/core/apitest"
	"github.com/taskgate/taskgate/core/task"
)

// binary is the real thing, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "taskgate")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "taskgate")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("go build: %v\n%s", err, out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// patience bounds what the tests wait for.
const patience = 30 * time.Second

// process is a running taskgate.
type process struct {
	*testing.T
	url    string
	banner string
	cmd    *exec.Cmd
	log    *lockedBuffer
	exited chan error
	client *http.Client
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var baseURL = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

// start runs taskgate on a free port, with its data in dir.
func start(t *testing.T, dir string, environ ...string) *process {
	t.Helper()
	p := &process{
		T: t, log: &lockedBuffer{}, exited: make(chan error, 1),
		client: &http.Client{Transport: apitest.Transport{}},
	}
	p.cmd = exec.Command(binary)
	p.cmd.Env = append([]string{"TASKGATE_DATA=" + dir, "TASKGATE_ADDR=127.0.0.1:0"}, environ...)
	p.cmd.Stderr = p.log
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			lines <- s.Text()
		}
		p.exited <- p.cmd.Wait()
	}()
	deadline := time.After(patience)
	for {
		select {
		case line, open := <-lines:
			if !open {
				t.Fatalf("taskgate ended at once: %s", p.log)
			}
			p.banner += line + "\n"
			if p.url == "" {
				p.url = baseURL.FindString(line)
			}
			if strings.Contains(line, "wait=") { // the banner's last line
				go func() {
					for range lines {
					}
				}()
				return p
			}
		case <-deadline:
			t.Fatalf("taskgate did not start: %s", p.log)
		}
	}
}

// kill ends the process as a power cut would, for all that it can tell.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	select {
	case err := <-p.exited:
		p.exited <- err
	case <-time.After(patience):
		p.Error("the process does not die")
	}
}

func (p *process) send(method, path, body string, headers ...string) (int, []byte) {
	p.Helper()
	status, answer, err := p.try(p.Context(), method, path, body, headers...)
	if err != nil {
		p.Fatalf("%s %s: %v", method, path, err)
	}
	return status, answer
}

func (p *process) try(ctx context.Context, method, path, body string, headers ...string) (int, []byte, error) {
	var sent io.Reader
	if body != "" {
		sent = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, sent)
	if err != nil {
		return 0, nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

func (p *process) document(status int, answer []byte) task.Document {
	p.Helper()
	var doc task.Document
	if err := json.Unmarshal(answer, &doc); err != nil || status >= 300 {
		p.Fatalf("%d %s: %v", status, answer, err)
	}
	return doc
}

func (p *process) enqueue(body string) task.Document {
	p.Helper()
	return p.document(p.send("POST", "/v1/tasks", body))
}

// finished waits for the task to finish.
func (p *process) finished(id string) task.Document {
	p.Helper()
	for deadline := time.Now().Add(patience); ; {
		doc := p.document(p.send("GET", "/v1/tasks/"+id+"?wait=10", ""))
		if doc.IsFinished {
			return doc
		}
		if time.Now().After(deadline) {
			p.Fatalf("the task is still %s: %s", doc.State, p.log)
		}
	}
}

// until polls until done.
func (p *process) until(what string, done func() bool) {
	p.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(deadline) {
			p.Fatalf("waited %v for %s; the log: %s", patience, what, p.log)
		}
	}
}
