package main_test

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const key = "the-key-$HOME-`id`-'\"-of-the-shop"

// service is the real local service, and program the smoke test.
var service, program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "taskgate")
	if err != nil {
		panic(err)
	}
	service, program = filepath.Join(dir, "local"), filepath.Join(dir, "smoke")
	if out, err := exec.Command("go", "build", "-o", dir, "../../functions/local", ".").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("go build: %v\n%s", err, out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// start runs the service with one API key, and returns its URL.
func start(t *testing.T, environ ...string) string {
	t.Helper()
	cmd := exec.Command(service)
	cmd.Env = append([]string{
		"TASKGATE_ADDR=127.0.0.1:0", "TASKGATE_DATA=" + filepath.Join(t.TempDir(), "data"), "TASKGATE_AUTH=keys",
		fmt.Sprintf("TASKGATE_API_KEYS=shop:enqueue+read:%x", sha256.Sum256([]byte(key))),
	}, environ...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	found := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if url := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(lines.Text()); url != "" {
				select {
				case found <- url:
				default:
				}
			}
		}
	}()
	select {
	case url := <-found:
		return url
	case <-time.After(30 * time.Second):
		t.Fatal("the service printed no URL")
		return ""
	}
}

// smoke runs a command with values in its environment: the real make, or the
// program alone.
func smoke(t *testing.T, environ []string, command ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = "../.."
	cmd.Env = append(cmd.Environ(), append([]string{"MAKEFLAGS=", "KEY=", "URL=", "TASK=", "TIMEOUT="}, environ...)...)
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), key) {
		t.Errorf("the key was printed: %s", out)
	}
	return string(out), err
}

func TestSmokeEnqueuesWaitsAndLooksUp(t *testing.T) {
	url := start(t)
	for _, target := range []string{"smoke-aws", "smoke-azure"} {
		out, err := smoke(t, nil, "make", "-s", target, "URL="+url, "KEY="+key)
		if err != nil || !strings.Contains(out, "SUCCESSFUL and returned 3") {
			t.Errorf("%s: %v: %s", target, err, out)
		}
	}
	out, err := smoke(t, []string{"URL=" + url + "/", "KEY=" + key + "\n"}, "make", "-s", "smoke-aws", `TASK={"task_name": "echo", "args": ["it's $HOME; \"x\""]}`)
	if err != nil || !strings.Contains(out, `it's $HOME; \"x\"`) {
		t.Errorf("%v: %s", err, out)
	}
}

func TestSmokeFails(t *testing.T) {
	url, idle := start(t), start(t, "TASKGATE_WORKER_URL=http://127.0.0.1:1")
	tests := map[string]struct {
		environ []string
		want    string
	}{
		"no URL":            {[]string{"KEY=" + key}, "URL must be"},
		"a URL of no kind":  {[]string{"KEY=" + key, "URL=tasks.example.com"}, "URL must be"},
		"no key":            {[]string{"URL=" + url}, "KEY must be"},
		"another key":       {[]string{"URL=" + url, "KEY=another"}, "401"},
		"no such service":   {[]string{"URL=http://127.0.0.1:1", "KEY=" + key}, "refused"},
		"a failing task":    {[]string{"URL=" + url, "KEY=" + key, `TASK={"task_name": "fail", "max_attempts": 1}`}, "FAILED"},
		"a refused task":    {[]string{"URL=" + url, "KEY=" + key, `TASK={"task_name": ""}`}, "422"},
		"no JSON":           {[]string{"URL=" + url, "KEY=" + key, `TASK=add`}, "TASK must be JSON"},
		"a wrong timeout":   {[]string{"URL=" + url, "KEY=" + key, `TIMEOUT=2`}, "TIMEOUT must be"},
		"nobody works":      {[]string{"URL=" + idle, "KEY=" + key, "TIMEOUT=2s"}, "deadline exceeded"},
		"a key that breaks": {[]string{"URL=" + url, "KEY=a b"}, "KEY must be"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := smoke(t, tt.environ, program)
			if err == nil || !strings.Contains(out, tt.want) {
				t.Errorf("%v: %s\nwant a message with %q", err, out, tt.want)
			}
		})
	}
}

// TestSmokeFailsWhereNobodyChecksKeys: a service that lets everybody in is not
// deployed right.
func TestSmokeFailsWhereNobodyChecksKeys(t *testing.T) {
	open := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer open.Close()
	if out, err := smoke(t, []string{"URL=" + open.URL, "KEY=" + key}, program); err == nil || !strings.Contains(out, "without a key") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestSmokeDoesNotFollowRedirects: the key would go with them.
func TestSmokeDoesNotFollowRedirects(t *testing.T) {
	var leaked atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { leaked.Store(true) }))
	defer elsewhere.Close()
	redirect := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer redirect.Close()
	if out, err := smoke(t, []string{"URL=" + redirect.URL, "KEY=" + key}, program); err == nil || leaked.Load() {
		t.Errorf("%v, followed: %v: %s", err, leaked.Load(), out)
	}
}
