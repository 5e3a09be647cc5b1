package faults_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/faults"
)

// subject is a client that has one defect, or none.
func subject(t *testing.T, defect string) faults.Subject {
	t.Helper()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "done") }))
	t.Cleanup(up.Close)
	p := faults.To(t, up.URL)
	client := &http.Client{Transport: &http.Transport{}}
	broken := false
	call := func(ctx context.Context) error {
		if defect == "unbounded" {
			ctx = context.WithoutCancel(ctx)
		}
		if defect == "goroutine" {
			go func() { select {} }()
		}
		if defect == "connection" {
			client = &http.Client{Transport: &http.Transport{}}
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL(), nil)
		if err != nil {
			return err
		}
		e := task.Errorf(task.Unavailable, "the service is away")
		if defect == "indiscreet" {
			e.Msg = "Post http://127.0.0.1"
		}
		res, err := client.Do(req)
		if err != nil {
			broken = true
			return e
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		switch {
		case defect == "stuck" && broken:
			return e
		case res.StatusCode == 200 && string(body) == "done", defect == "credulous" && res.StatusCode == 200:
			return nil
		case defect == "wrong kind" && err != nil:
			return err
		case res.StatusCode == http.StatusBadRequest || res.StatusCode == http.StatusTooManyRequests:
			e.RetryAfter = time.Second
			if defect == "impatient" {
				e.RetryAfter = 0
			}
		}
		return e
	}
	return faults.Subject{TCP: p.TCP, Faults: p.Faults(faultproxy.Any, faults.AWS, false), Says: "the service", Call: call}
}

const defectEnv = "TASKGATE_TEST_DEFECT"

// TestSubject runs in a process of its own for each defect of the test below.
func TestSubject(t *testing.T) { faults.Run(t, subject(t, os.Getenv(defectEnv))) }

// TestMutantsAreCaught: the fault that should show a defect does.
func TestMutantsAreCaught(t *testing.T) {
	if os.Getenv("TASKGATE_SOAK") == "" {
		t.Skip("a part of make soak: leaks are waited for")
	}
	for defect, says := range map[string]string{
		"unbounded": "there is no answer after", "goroutine": "left behind", "connection": "connections, want",
		"indiscreet": "the client is told", "stuck": "not recovered", "credulous": "it was served", "wrong kind": "want unavailable", "impatient": "no RetryAfter",
	} {
		t.Run(defect, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSubject$", "-test.failfast")
			cmd.Env = append(os.Environ(), defectEnv+"="+defect)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), says) {
				t.Errorf("%v, %s", err, out)
			}
		})
	}
}
