package main_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/apitest"
	"github.com/taskgate/taskgate/tests/wait"
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
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("taskgate printed:\n%s", p.log)
		}
	})
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			lines <- s.Text()
		}
		p.exited <- p.cmd.Wait()
	}()
	deadline := time.After(wait.Patience)
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
	case <-time.After(wait.Patience):
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
	return apitest.Client{URL: p.url, HTTP: p.client}.Send(ctx, method, path, body, headers...)
}

func (p *process) document(status int, answer []byte) task.Document {
	p.Helper()
	return apitest.Document(p, status, answer)
}

func (p *process) enqueue(body string) task.Document {
	p.Helper()
	return p.document(p.send("POST", "/v1/tasks", body))
}

// finished waits for the task to finish.
func (p *process) finished(id string) task.Document {
	p.Helper()
	return apitest.Finished(p, id, func(path string) (int, []byte) { return p.send("GET", path, "") })
}

// until polls until done.
func (p *process) until(what string, done func() bool) {
	p.Helper()
	apitest.Until(p, what, done)
}
