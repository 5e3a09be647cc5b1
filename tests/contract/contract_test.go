// Package contract checks that tools can read openapi.json, and that a change of
// it breaks no client of the last release.
package contract

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const spec = "../../core/httpapi/openapi.json"

// need returns the absolute path of a tool of this folder. A machine without it
// skips the test, except in continuous integration.
func need(t *testing.T, tool string) string {
	t.Helper()
	path, err := filepath.Abs(tool)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: run make contract-tools", tool)
		}
		t.Skipf("SKIPPED: %s is missing: run make contract-tools (needs Node and Python)", tool)
	}
	return path
}

// run runs a command in dir, with more variables in its environment, and fails
// the test if it fails. It returns its output.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// copied returns a temporary copy of a folder.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLintersFindNoErrors(t *testing.T) {
	for name, args := range map[string][]string{
		"redocly":  {"lint", "--config", "redocly.yaml", spec},
		"spectral": {"lint", "--fail-severity", "error", "--ruleset", "spectral.yaml", spec},
	} {
		t.Run(name, func(t *testing.T) {
			tool := need(t, "node_modules/.bin/"+name)
			run(t, ".", []string{"REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true"}, tool, args...)
		})
	}
}

// service starts the local binary, whose demo worker runs the task "add", and
// returns its URL.
func service(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "taskgate")
	run(t, "../..", nil, "go", "build", "-o", binary, "./functions/local")
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary)
	cmd.Env = append(os.Environ(), "TASKGATE_ADDR=127.0.0.1:0", "TASKGATE_DATA="+filepath.Join(t.TempDir(), "data"))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); _ = cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(line)
	if url == "" {
		t.Fatalf("the service says %q, %v", line, err)
	}
	return url
}

func TestGeneratedClientsEnqueueWaitAndList(t *testing.T) {
	t.Run("openapi-python-client", func(t *testing.T) {
		generator := need(t, ".venv/bin/openapi-python-client")
		dir := copied(t, "clients/python")
		out := run(t, dir, nil, generator, "generate", "--path", absolute(t, spec), "--output-path", "client", "--meta", "none")
		if strings.Contains(out, "WARNING") {
			t.Errorf("the generator left something out:\n%s", out)
		}
		run(t, dir, nil, filepath.Join(filepath.Dir(generator), "python"), "main.py", service(t))
	})
	t.Run("oapi-codegen", func(t *testing.T) {
		dir := copied(t, "clients/go")
		if err := os.Mkdir(filepath.Join(dir, "api"), 0o755); err != nil {
			t.Fatal(err)
		}
		env := []string{"GOFLAGS=-mod=mod", "GOWORK=off"}
		run(t, dir, env, "go", "tool", "oapi-codegen", "-package", "api", "-o", "api/api.go", absolute(t, spec))
		run(t, dir, env, "go", "run", ".", service(t))
	})
	t.Run("openapi-typescript", func(t *testing.T) {
		generator := need(t, "node_modules/.bin/openapi-typescript")
		modules := absolute(t, "node_modules")
		dir := copied(t, "clients/typescript")
		if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"type":"module"}`), 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, dir, nil, generator, absolute(t, spec), "-o", "api.d.ts")
		run(t, dir, nil, filepath.Join(modules, ".bin/tsc"), "-p", ".")
		run(t, dir, nil, "node", "main.js", service(t))
	})
}

// TestNoChangeBreaksTheLastRelease compares openapi.json with the baseline: the
// contract of the last release. A release replaces the baseline.
func TestNoChangeBreaksTheLastRelease(t *testing.T) {
	const baseline = "core/httpapi/testdata/openapi-baseline.json"
	breaking := func(spec string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=tools/tools.mod", "oasdiff", "breaking", "--fail-on", "ERR", baseline, spec)
		cmd.Dir = "../.."
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := breaking("core/httpapi/openapi.json"); err != nil {
		t.Errorf("openapi.json breaks clients of the last release: %v\n%s", err, out)
	}
	// The check finds a member that is gone, a new required one and a narrower one.
	text, err := os.ReadFile(filepath.Join("../..", baseline))
	if err != nil {
		t.Fatal(err)
	}
	for old, new := range map[string]string{
		`"/v1/capabilities":`:             `"/v1/abilities":`,
		`"required":["task_name"]`:        `"required":["task_name","args"]`,
		`"is_finished":{"type":"boolean"`: `"is_finished":{"type":"string"`,
	} {
		changed := filepath.Join(t.TempDir(), "openapi.json")
		if !strings.Contains(string(text), old) {
			t.Fatalf("the baseline has no %s", old)
		}
		if err := os.WriteFile(changed, []byte(strings.ReplaceAll(string(text), old, new)), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := breaking(changed); err == nil {
			t.Errorf("%s instead of %s passed: %s", new, old, fmt.Sprint(out))
		}
	}
}
