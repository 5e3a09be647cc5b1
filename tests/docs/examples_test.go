package docs_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/functions/settings"
)

// patience bounds what a page's examples may take.
const patience = 2 * time.Minute

// How a page marks a block, by a comment on the line before it:
//
//	<!-- serves -->                the service is started as the block says
//	<!-- run -->                   the block is run; it must succeed
//	<!-- run, prints: a … b -->    and its output has these parts, in this order
//	<!-- run in background -->     the block, one command, goes on until the page ends
//
// The blocks of a page are one shell session in the root of the repository, against
// the real binary. Only the addresses 127.0.0.1:8080 and 127.0.0.1:9000 are
// replaced, by free ones.
var runnable = regexp.MustCompile(`^(serves|run in background|run)(?:, prints: (.+))?$`)

func TestExamplesOfThePagesRun(t *testing.T) {
	t.Parallel()
	need(t, "bash", "curl", "python3")
	binary := filepath.Join(t.TempDir(), "taskgate")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", binary, root+"/functions/local").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	ran := 0
	for _, p := range pages(t) {
		var marked []block
		for _, b := range p.blocks {
			if runnable.MatchString(b.marker) {
				marked = append(marked, b)
			} else if strings.HasPrefix(b.marker, "run") || strings.HasPrefix(b.marker, "serves") {
				t.Errorf("%s:%d: the marker %q is not understood", p.path, b.line, b.marker)
			}
		}
		if len(marked) > 0 {
			ran++
			t.Run(p.path, func(t *testing.T) {
				t.Parallel()
				runPage(t, binary, marked)
			})
		}
	}
	if ran < 3 {
		t.Errorf("only %d pages have examples that run", ran)
	}
}

func runPage(t *testing.T, binary string, blocks []block) {
	folder := checkout(t, binary)
	worker := freeAddress(t)
	_, port, _ := net.SplitHostPort(worker)
	local := strings.NewReplacer("127.0.0.1:9000", worker, "--port 9000", "--port "+port)
	var environ []string
	if m := runnable.FindStringSubmatch(blocks[0].marker); m[1] == "serves" {
		environ = strings.Fields(local.Replace(blocks[0].code))
		if command := strings.Join(environ[max(0, len(environ)-2):], " "); command == "make run" {
			environ = environ[:len(environ)-2]
		} else if environ[len(environ)-1] == "build/taskgate" {
			environ = environ[:len(environ)-1]
		} else {
			t.Fatalf("line %d: a block that serves must be variables and make run or build/taskgate", blocks[0].line)
		}
		blocks = blocks[1:]
	}
	address := serve(t, folder, environ)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	bash := func(script string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "bash", "-c", script)
		cmd.Dir = folder
		cmd.Env = append(os.Environ(), "TASKS_URL=http://"+address, "TASKGATE_EVENTS_BASE=http://"+address)
		cmd.WaitDelay = time.Second
		return cmd
	}
	script := "set -euo pipefail\n"
	for i, b := range blocks {
		code := strings.ReplaceAll(local.Replace(b.code), "127.0.0.1:8080", address)
		if strings.HasPrefix(b.marker, "run in background") {
			background := bash("exec " + code) // exec: the process that is killed is the command itself
			if err := background.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = background.Process.Kill()
				_ = background.Wait()
			}()
			code = ""
		}
		script += fmt.Sprintf("%s\necho; echo @@end %d\n", code, i)
	}
	cmd := bash(script)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	rest := string(out)
	for i, b := range blocks {
		printed, after, whole := strings.Cut(rest, fmt.Sprintf("\n@@end %d\n", i))
		if rest = after; !whole {
			t.Fatalf("line %d: the block failed: %v\n%s\n%s", b.line, err, printed, stderr.String())
		}
		want := runnable.FindStringSubmatch(b.marker)[2]
		from := printed
		for part := range strings.SplitSeq(want, "…") {
			_, later, ok := strings.Cut(from, strings.TrimSpace(part))
			if from = later; !ok {
				t.Errorf("line %d: the output has no %q where it should:\n%s\n%s", b.line, strings.TrimSpace(part), printed, stderr.String())
				break
			}
		}
	}
}

// checkout returns a folder that looks like the root of the repository to the
// examples, with the binary built.
func checkout(t *testing.T, binary string) string {
	t.Helper()
	folder := t.TempDir()
	docs, err := filepath.Abs(filepath.Join(root, "docs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Mkdir(filepath.Join(folder, "build"), 0o755),
		os.Symlink(docs, filepath.Join(folder, "docs")),
		os.Symlink(binary, filepath.Join(folder, "build", "taskgate")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// serve starts the binary in the folder and returns where it listens.
func serve(t *testing.T, folder string, environ []string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(folder, "build", "taskgate"))
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), append(environ, "TASKGATE_ADDR=127.0.0.1:0")...)
	var log strings.Builder
	cmd.Stderr = &log
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
		if t.Failed() {
			t.Logf("taskgate printed:\n%s", log.String())
		}
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if address := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(lines.Text()); address != "" {
			go func() { _, _ = io.Copy(io.Discard, stdout) }()
			return address
		}
	}
	t.Fatal("taskgate did not start")
	return ""
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// need skips a test where a tool is missing, and fails it in CI.
func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is missing", tool)
			}
			t.Skipf("SKIPPED: %s is missing", tool)
		}
	}
}

// TestExamplesOfThePagesCanBeRead parses what is not run: JSON, Go and shell.
func TestExamplesOfThePagesCanBeRead(t *testing.T) {
	t.Parallel()
	need(t, "bash")
	read := map[string]int{}
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			var err error
			switch b.language {
			case "json":
				err = meant(b.code)
			case "go":
				_, err = parser.ParseFile(token.NewFileSet(), "", "package p\nfunc _() {\n"+b.code+"\n}", 0)
			case "sh":
				err = readable(b.code)
			case "", "text", "mermaid", "sql", "hcl":
			default:
				t.Errorf("%s:%d: nobody checks a block in %s", p.path, b.line, b.language)
			}
			if read[b.language]++; err != nil {
				t.Errorf("%s:%d: %v", p.path, b.line, err)
			}
		}
	}
	if read["json"] < 4 || read["go"] < 1 || read["sh"] < 8 {
		t.Errorf("too few blocks were read: %v", read)
	}
}

// meant reads a JSON block as what it is an example of: settings, a request, or
// any JSON.
func meant(code string) error {
	var members map[string]any
	if err := json.Unmarshal([]byte(code), &members); err != nil {
		return err
	}
	if strings.Contains(code, `"BACKEND"`) {
		_, err := settings.ParseTasks([]byte(code), settings.Main{})
		return err
	}
	if members["task_name"] != nil && members["id"] == nil { // with an id, it is a message
		_, err := task.ParseRequest([]byte(code), false)
		return err
	}
	return nil
}

// placeholder is a word in angle brackets. Pasted into a shell it redirects; a
// variable that is not set yet does no harm.
var placeholder = regexp.MustCompile(`<[a-z][a-z0-9 -]*>`)

func readable(code string) error {
	if found := placeholder.FindString(code); found != "" {
		return fmt.Errorf("%s is a redirection to a shell: use a variable", found)
	}
	if out, err := exec.Command("bash", "-n", "-c", code).CombinedOutput(); err != nil {
		return fmt.Errorf("the shell does not understand it: %s", out)
	}
	return nil
}
