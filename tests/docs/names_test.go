package docs_test

import (
	"regexp"
	"strings"
	"testing"
)

var variable = regexp.MustCompile(`TASKGATE_[A-Z][A-Z_]*[A-Z]`)

// variables returns the TASKGATE_ names in Go source; those of tests are for
// whoever runs the tests.
func variables(t *testing.T) (settings, tests map[string]bool) {
	t.Helper()
	settings, tests = map[string]bool{}, map[string]bool{}
	quoted := regexp.MustCompile(`"(` + variable.String() + `)"`)
	walk(t, ".go", func(path string, data []byte) {
		into := settings
		if strings.HasSuffix(path, "_test.go") || !strings.HasPrefix(path, "functions/") {
			into = tests
		}
		for _, m := range quoted.FindAllSubmatch(data, -1) {
			into[string(m[1])] = true
		}
	})
	if len(settings) < 15 {
		t.Fatalf("only %d variables were found in functions/", len(settings))
	}
	return settings, tests
}

// TestEveryVariableIsDocumentedAndExists compares docs/configuration.md with what
// the mains read, and every page with what there is.
func TestEveryVariableIsDocumentedAndExists(t *testing.T) {
	t.Parallel()
	settings, tests := variables(t)
	configuration := read(t, "docs/configuration.md")
	for name := range settings {
		if !strings.Contains(configuration, "| `"+name+"`") && !strings.Contains(configuration, ", `"+name+"`") {
			t.Errorf("docs/configuration.md has no row for %s", name)
		}
	}
	for _, p := range pages(t) {
		if p.path == "CHANGELOG.md" || strings.HasPrefix(p.path, "docs/decisions/") {
			continue // they tell what was
		}
		for _, name := range variable.FindAllString(p.text, -1) {
			if !settings[name] && !tests[name] {
				t.Errorf("%s names %s, which nothing reads", p.path, name)
			}
		}
	}
}

// TestEveryMakeTargetNamedExists: a page that says "make x" names a target.
func TestEveryMakeTargetNamedExists(t *testing.T) {
	t.Parallel()
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z-]*)(?: [a-z-]+)*:`).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	for _, p := range pages(t) {
		if p.path == "CHANGELOG.md" || strings.HasPrefix(p.path, "docs/decisions/") {
			continue
		}
		for _, m := range regexp.MustCompile("(?m)(?:`|^|&& )make ([a-z][a-z-]*)").FindAllStringSubmatch(p.text, -1) {
			if !targets[m[1]] {
				t.Errorf("%s says make %s, which is no target", p.path, m[1])
			}
		}
	}
}
