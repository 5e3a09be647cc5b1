package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// step is a function that docs/architecture.md names, with the file that it
// links to: [`Service.Enqueue`](../core/task/enqueue.go).
var step = regexp.MustCompile("\\[`([A-Za-z]+(?:\\.[A-Za-z]+)?)`\\]\\(\\.\\./([^)]+\\.go)\\)")

// declared returns the functions, methods ("Type.Method") and types of a file.
func declared(t *testing.T, file string) map[string]bool {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return nil
	}
	names := map[string]bool{}
	for _, d := range tree.Decls {
		switch d := d.(type) {
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if s, ok := s.(*ast.TypeSpec); ok {
					names[s.Name.Name] = true
				}
			}
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				of := d.Recv.List[0].Type
				if star, ok := of.(*ast.StarExpr); ok {
					of = star.X
				}
				if of, ok := of.(*ast.Ident); ok {
					name = of.Name + "." + name
				}
			}
			names[name] = true
		}
	}
	return names
}

func TestTheArchitecturePageNamesFunctionsThatExist(t *testing.T) {
	t.Parallel()
	files := map[string]map[string]bool{}
	named := step.FindAllStringSubmatch(read(t, "docs/architecture.md"), -1)
	if len(named) < 30 {
		t.Errorf("only %d functions are named", len(named))
	}
	for _, m := range named {
		function, file := m[1], m[2]
		if files[file] == nil {
			files[file] = declared(t, file)
		}
		if !files[file][function] {
			t.Errorf("docs/architecture.md: %s is not in %s", function, file)
		}
	}
}

// TestTheWayOfAnEnqueueNeverTurnsBack: each numbered list under "The way of an
// enqueue" goes through a file once, until its last item, which is the return.
func TestTheWayOfAnEnqueueNeverTurnsBack(t *testing.T) {
	t.Parallel()
	_, section, found := strings.Cut(read(t, "docs/architecture.md"), "\n## The way of an enqueue\n")
	section, _, _ = strings.Cut(section, "\n## ")
	ways := 0
	for _, part := range strings.Split(section, "\n### ")[1:] {
		title, list, _ := strings.Cut(part, "\n")
		list, _, back := strings.Cut(list, "\n\nThe way back")
		steps := step.FindAllStringSubmatch(list, -1)
		ways++
		if !back {
			t.Errorf("%s: the way back is not told", title)
		}
		left, at := map[string]bool{}, ""
		for _, m := range steps {
			if m[2] == at {
				continue
			}
			left[at], at = true, m[2]
			if left[at] {
				t.Errorf("%s: %s comes back to %s", title, m[1], path.Base(at))
			}
		}
	}
	if !found || ways != 3 {
		t.Errorf("%d ways are told, one for each main makes 3", ways)
	}
}
