// Package imports holds the repository to its layout: functions use adapters,
// adapters use core, and never the other way round; no cloud's binary links the
// other cloud's SDK; nothing that is deployed links what only tests need; the
// root holds only what docs/contributing.md lists.
package imports_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
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

// suites are the packages below core that hold contracts and fakes for tests.
// They alone may use package testing and tests/.
var suites = []string{"core/task/storetest", "core/task/dispatchtest", "core/task/tasktest", "core/httpapi/doortest"}

// rules say what the packages below a folder must not link, directly or not.
// A path that ends in a slash stands for everything below it.
var rules = []struct{ below, never, why string }{
	{"core/", module + "adapters/", "core knows no adapter"},
	{"core/", module + "functions/", "core knows no main"},
	{"core/", module + "clients/", "core knows no client"},
	{"core/", module + "bench/", "core knows no benchmark"},
	{"core/", awsSDK, "core knows no cloud"},
	{"core/", azureSDK, "core knows no cloud"},
	{"core/", "github.com/cockroachdb/", "core knows no database"},
	{"adapters/", module + "functions/", "adapters know no main"},
	{"adapters/", module + "clients/", "adapters know no client"},
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
	{"functions/", "github.com/anishathalye/", "no production binary links a model checker"},
	{"clients/", module + "core/", "clients know only the wire"},
	{"clients/", module + "adapters/", "clients know only the wire"},
	{"clients/", module + "functions/", "clients know only the wire"},
	{"clients/", awsSDK, "clients know no cloud"},
	{"clients/", azureSDK, "clients know no cloud"},
	{"tools/", module + "tests/", "tools are used without the tests"},
}

// deployed are the folders whose packages, but for the suites, end up in
// somebody's program.
var deployed = []string{"core/", "adapters/", "functions/", "clients/"}

// forTests is what no deployed package links.
var forTests = append([]string{"testing", module + "tests/"}, qualified(suites)...)

func qualified(local []string) (paths []string) {
	for _, p := range local {
		paths = append(paths, module+p)
	}
	return paths
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

func TestPackagesLinkOnlyWhatTheLayoutAllows(t *testing.T) {
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
	if seen < 100 {
		t.Errorf("only %d checks were made: do the folders still have these names?", seen)
	}
}

func TestNothingDeployedLinksWhatIsForTests(t *testing.T) {
	seen := 0
	for _, p := range list(t) {
		local := strings.TrimPrefix(p.ImportPath, module)
		if slices.Contains(suites, local) || !slices.ContainsFunc(deployed, func(folder string) bool { return strings.HasPrefix(local, folder) }) {
			continue
		}
		seen++
		for _, dep := range p.Deps {
			if slices.ContainsFunc(forTests, func(never string) bool { return breaks(dep, never) }) {
				t.Errorf("%s links %s, which is for tests", local, dep)
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d packages were checked: do the folders still have these names?", seen)
	}
}

// TestTheRootHoldsOnlyWhatIsListed also allows dot-files, and build/, which is made.
func TestTheRootHoldsOnlyWhatIsListed(t *testing.T) {
	listed := []string{
		"README.md", "LICENSE", "CHANGELOG.md", "Makefile", "go.mod", "go.sum", "template.yaml", "host.json",
		"core", "adapters", "functions", "clients", "infra", "tests", "bench", "docs", "tools", "build",
	}
	entries, err := os.ReadDir("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(listed, e.Name()) {
			t.Errorf("%s is not one of the root's entries", e.Name())
		}
	}
}

// breaks reports whether a dependency is the forbidden package, or below it.
func breaks(dep, never string) bool {
	return dep == never || strings.HasSuffix(never, "/") && strings.HasPrefix(dep, never) || strings.HasPrefix(dep, never+"/")
}
