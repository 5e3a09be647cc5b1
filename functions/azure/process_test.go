package main_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/taskgate/taskgate/adapters/azure/customhandler"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/blackbox"
	"github.com/taskgate/taskgate/tests/emulators/functionshost"
)

// freePort is one that was free a moment ago, as the host finds it.
func freePort(t *testing.T) string {
	t.Helper()
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	_, port, _ := net.SplitHostPort(probe.Addr().String())
	return port
}

// TestAppsAreReadyAtOnceAndExitByTheHostsRules: ready although nothing that
// they need answers; logging JSON to stdout; and asked to end, with the code that
// the host takes for no error and does not leave it at.
func TestAppsAreReadyAtOnceAndExitByTheHostsRules(t *testing.T) {
	for app, settings := range map[string]map[string]string{
		"azure/taskgate":               offline(t),
		"azure-worker/taskgate-worker": {"TASKGATE_EVENTS_BASE": "http://127.0.0.1:1", "FUNCTIONS_APP_ROOT_PATH": filepath.Join(staged, "azure-worker")},
	} {
		port := freePort(t)
		cmd := exec.CommandContext(t.Context(), filepath.Join(staged, filepath.FromSlash(app)))
		cmd.Env = []string{}
		for name, value := range with(settings, "FUNCTIONS_CUSTOMHANDLER_PORT", port) {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		base := "http://127.0.0.1:" + port
		c := newClient(t, base)
		c.until(app+" to be ready", func() bool {
			resp, err := http.Get(base + "/")
			if err == nil {
				err = resp.Body.Close()
			}
			return err == nil
		})
		resp, err := http.Post(base+"/no-such-function", "application/json", nil)
		if err != nil || resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %v, %v", app, resp, err)
		} else {
			_ = resp.Body.Close()
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			var line struct{ Time, Level, Msg string }
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Level == "" || line.Msg == "" {
				t.Errorf("%s logs %q: %v", app, lines.Text(), err)
			}
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != customhandler.ExitRestart {
			t.Errorf("%s ended with %v", app, err)
		}
	}
}

// TestConcurrentReportsOnOneTaskHaveOneWinnerEachStep: 30 workers at once, over
// the conditional writes of the store.
func TestConcurrentReportsOnOneTaskHaveOneWinnerEachStep(t *testing.T) {
	emulated := newCloud(t)
	h := functionshost.Start(t, filepath.Join(staged, "azure"), functionshost.Options{Settings: emulated.apiSettings()})
	inbox := blackbox.NewInbox()
	emulated.drainBus(inbox, queueName, "")
	api := newClient(t, h.URL())
	doc := api.enqueue(`{"task_name":"t"}`)
	m, err := inbox.Receive(t.Context(), doc.ID)
	if err != nil {
		t.Fatal(err)
	}
	const workers = 30
	// report sends the events side by side, and counts the answers by status.
	report := func(event func(worker int) string) map[int]int {
		var mu sync.Mutex
		var all sync.WaitGroup
		counts := map[int]int{}
		for worker := range workers {
			all.Go(func() {
				status, answer := api.send(t.Context(), "POST", "/v1/tasks/"+doc.ID+"/events", event(worker), "Taskgate-Token", m.Token)
				mu.Lock()
				defer mu.Unlock()
				if counts[status]++; status >= 500 {
					t.Errorf("%d %s", status, answer)
				}
			})
		}
		all.Wait()
		return counts
	}
	for attempt := 1; attempt <= 3; attempt++ {
		counts := report(func(worker int) string {
			return fmt.Sprintf(`{"type":"started","worker_id":"w%d","delivery_id":"%d-%d"}`, worker, attempt, worker)
		})
		if counts[http.StatusOK] != 1 || counts[http.StatusConflict] != workers-1 {
			t.Errorf("attempt %d: started was answered %v", attempt, counts)
		}
		if attempt == 3 {
			break
		}
		counts = report(func(int) string {
			return fmt.Sprintf(`{"type":"failed","attempt":%d,"retryable":true,"error":{"exception_class_path":"builtins.ValueError","traceback":"x"}}`, attempt)
		})
		if counts[http.StatusOK] != workers { // the same report, and it took effect
			t.Errorf("attempt %d: failed was answered %v", attempt, counts)
		}
	}
	counts := report(func(worker int) string {
		return fmt.Sprintf(`{"type":"succeeded","attempt":3,"return_value":%d}`, worker)
	})
	if counts[http.StatusOK] != 1 || counts[http.StatusGone] != workers-1 {
		t.Errorf("succeeded was answered %v", counts)
	}
	if doc = api.finished(doc.ID); doc.Status != task.Successful || doc.Attempts != 3 || len(doc.Errors) != 2 || len(doc.ReturnValue) == 0 {
		t.Errorf("%+v", doc)
	}
}
