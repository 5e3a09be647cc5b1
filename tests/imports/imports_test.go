// Package imports holds the repository to its layout: functions → adapters →
// core, never back or sideways; no cloud's binary links the other cloud's SDK;
// and nothing that is deployed links what is only for tests.
package imports_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/taskgate/taskgate/"

const (
	awsSDK   = "github.com/aws/"
	azureSDK = "github.com/Azure/"
)

// rules say of the packages below each folder what they may not link.
var rules = []struct{ below, never, why string }{
	{"core/", module + "adapters/", "core knows no adapter"},
	{"core/", module + "functions/", "core knows no main"},
	{"core/", awsSDK, "core knows no cloud"},
	{"core/", azureSDK, "core knows no cloud"},
	{"core/", "github.com/cockroachdb/", "core knows no database"},
	{"adapters/", module + "functions/", "adapters know no main"},
	{"adapters/aws/", azureSDK, "one cloud's adapters never link the other's SDK"},
	{"adapters/aws/", module + "adapters/azure/", "adapters do not reach sideways"},
	{"adapters/aws/", module + "adapters/local/", "adapters do not reach sideways"},
	{"adapters/azure/", awsSDK, "one cloud's adapters never link the other's SDK"},
	{"adapters/azure/", module + "adapters/aws/", "adapters do not reach sideways"},
	{"adapters/azure/", module + "adapters/local/", "adapters do not reach sideways"},
	{"adapters/local/", awsSDK, "the embedded default knows no cloud"},
	{"adapters/local/", azureSDK, "the embedded default knows no cloud"},
	{"functions/local", awsSDK, "the embedded default knows no cloud"},
	{"functions/local", azureSDK, "the embedded default knows no cloud"},
	{"functions/aws", azureSDK, "one cloud's binary never links the other's SDK"},
	{"functions/azure", awsSDK, "one cloud's binary never links the other's SDK"},
	{"functions/", "testing", "no production binary links a test suite"},
	{"functions/", "github.com/anishathalye/", "no production binary links a model checker"},
	{"functions/", module + "core/task/tasktest", "no production binary links a fake"},
	{"functions/", module + "tests/", "no production binary links what is only for tests"},
}

// pkg is what go list says of a package.
type pkg struct {
	ImportPath string
	Deps       []string
}

func list(t *testing.T) (pkgs []pkg) {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Deps", module+"...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func TestNothingLinksWhatItMayNot(t *testing.T) {
	seen := 0
	for _, p := range list(t) {
		local := strings.TrimPrefix(p.ImportPath, module)
		for _, rule := range rules {
			if !strings.HasPrefix(local, rule.below) {
				continue
			}
			seen++
			if i := slices.IndexFunc(p.Deps, func(dep string) bool { return breaks(dep, rule.never) }); i >= 0 {
				t.Errorf("%s links %s: %s", local, p.Deps[i], rule.why)
			}
		}
	}
	if seen < len(rules)/2 {
		t.Errorf("only %d checks were made: do the folders still have these names?", seen)
	}
}

// breaks reports whether a dependency is the forbidden package, or below it.
func breaks(dep, never string) bool {
	return dep == never || strings.HasSuffix(never, "/") && strings.HasPrefix(dep, never) || strings.HasPrefix(dep, never+"/")
}
