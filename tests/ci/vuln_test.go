// Package ci_test holds the scripts that CI runs to what they say.
package ci_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheVulnerabilityLookUpSaysWhenItDidNotHappen runs tools/vuln with an empty
// database, on a package that does not exist, and behind a proxy that is not there.
func TestTheVulnerabilityLookUpSaysWhenItDidNotHappen(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("bash is missing")
		}
		t.Skip("SKIPPED: bash is missing")
	}
	empty := t.TempDir()
	if err := os.Mkdir(filepath.Join(empty, "index"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"db.json": `{"modified":"2026-01-01T00:00:00Z"}`, "modules.json": `[]`} {
		if err := os.WriteFile(filepath.Join(empty, "index", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const notChecked = "vulnerability database not reachable: not checked"
	for _, c := range []struct {
		name, database, pattern string
		status                  int
		says                    bool
	}{
		{"an empty database", "file://" + filepath.ToSlash(empty), "./tools/key", 0, false}, // first: it may download the tool
		{"no such package", "file://" + filepath.ToSlash(empty), "./tools/nothing", 1, false},
		{"no way to the database", "https://vuln.go.dev", "./tools/key", 2, true},
	} {
		cmd := exec.Command("../../tools/vuln", "-db="+c.database, c.pattern)
		if c.says {
			cmd.Env = append(os.Environ(), "HTTPS_PROXY=http://127.0.0.1:1")
		}
		out, err := cmd.CombinedOutput()
		status := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			status = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if status != c.status || strings.Contains(string(out), notChecked) != c.says {
			t.Errorf("%s: exit status %d, want %d; it printed:\n%s", c.name, status, c.status, out)
		}
	}
}
