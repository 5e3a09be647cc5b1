// Package docs_test holds the pages to the code: links lead somewhere, examples
// run, and whatever a page names exists.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// page is one Markdown file.
type page struct {
	path   string // below the root, with slashes
	text   string
	blocks []block
}

// block is one fenced code block.
type block struct {
	language string
	code     string
	line     int    // of its first line of code
	marker   string // the text of an HTML comment directly before it
}

// pages returns every Markdown file of the repository.
func pages(t *testing.T) []page {
	t.Helper()
	var all []page
	walk(t, ".md", func(path string, data []byte) {
		all = append(all, page{path: path, text: string(data), blocks: fenced(string(data))})
	})
	if len(all) < 20 {
		t.Fatalf("only %d pages were found", len(all))
	}
	return all
}

// walk calls f for every file with the extension, by its path below the root.
func walk(t *testing.T, extension string, f func(path string, data []byte)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			switch entry.Name() {
			case "node_modules", ".venv", ".git", "build", ".aws-sam", ".terraform":
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != extension {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		f(filepath.ToSlash(name), data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var (
	fence   = regexp.MustCompile("^\\s*```\\s*(\\S*)")
	comment = regexp.MustCompile(`^\s*<!--\s*(.*?)\s*-->\s*$`)
)

func fenced(text string) []block {
	var blocks []block
	var open *block
	marker := ""
	for i, line := range strings.Split(text, "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case m != nil && open == nil:
			open = &block{language: m[1], line: i + 2, marker: marker}
		case m != nil:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.code += line + "\n"
		}
		marker = ""
		if c := comment.FindStringSubmatch(line); c != nil {
			marker = c[1]
		}
	}
	return blocks
}

// prose returns the page without its code blocks and inline code.
func (p page) prose() string {
	var out []string
	inside := false
	for line := range strings.SplitSeq(p.text, "\n") {
		if fence.MatchString(line) {
			inside = !inside
			continue
		}
		if !inside {
			out = append(out, regexp.MustCompile("`[^`]*`").ReplaceAllString(line, "code"))
		}
	}
	return strings.Join(out, "\n")
}
