package docs_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6}\s+(.+?)\s*$`)
)

// anchors returns the ids that GitHub gives to the page's headings.
func (p page) anchors() map[string]bool {
	ids := map[string]bool{}
	inside := false
	for line := range strings.SplitSeq(p.text, "\n") {
		if fence.MatchString(line) {
			inside = !inside
		}
		m := heading.FindStringSubmatch(line)
		if inside || m == nil {
			continue
		}
		text := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(m[1], "$1")
		ids[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, text)] = true
	}
	return ids
}

// TestLinksBetweenPagesLeadSomewhere checks every relative link and its anchor;
// links to other sites are not followed.
func TestLinksBetweenPagesLeadSomewhere(t *testing.T) {
	t.Parallel()
	all := pages(t)
	byPath := map[string]page{}
	for _, p := range all {
		byPath[p.path] = p
	}
	checked := 0
	for _, p := range all {
		for _, m := range link.FindAllStringSubmatch(p.prose(), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			checked++
			file := p.path
			if target != "" {
				file = path.Join(path.Dir(p.path), target)
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s links to %s, which is not there", p.path, m[1])
				continue
			}
			if other, isPage := byPath[file]; anchor != "" && isPage && !other.anchors()[anchor] {
				t.Errorf("%s links to %s, which has no such heading", p.path, m[1])
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d links were checked", checked)
	}
}

// TestTheIndexLinksEveryPage: a page that docs/README.md does not name is lost.
func TestTheIndexLinksEveryPage(t *testing.T) {
	t.Parallel()
	for _, index := range []string{"docs/README.md", "docs/decisions/README.md"} {
		text := read(t, index)
		for _, p := range pages(t) {
			name, below := strings.CutPrefix(p.path, path.Dir(index)+"/")
			if below && !strings.Contains(name, "/") && name != "README.md" && !strings.Contains(text, "]("+name+")") {
				t.Errorf("%s does not link to %s", index, p.path)
			}
		}
	}
}

// TestTheRootHoldsOnlyWhatBelongsThere, dot-files and folders aside.
func TestTheRootHoldsOnlyWhatBelongsThere(t *testing.T) {
	t.Parallel()
	allowed := map[string]bool{}
	for name := range strings.FieldsSeq("README.md LICENSE CHANGELOG.md Makefile go.mod go.sum template.yaml host.json") {
		allowed[name] = true
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() && !allowed[e.Name()] && !strings.HasPrefix(e.Name(), ".") {
			t.Errorf("the root has %s, which belongs into a folder", e.Name())
		}
	}
	if n := strings.Count(read(t, "README.md"), "\n"); n > 150 {
		t.Errorf("README.md has %d lines, and may have 150", n)
	}
}
