package httpapi_test

import (
	"maps"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
)

// TestEveryKindHasTheStatusThatIsDocumented compares with docs/problems.md,
// which its own test holds to openapi.yaml.
func TestEveryKindHasTheStatusThatIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/problems.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[task.Kind]int{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (\\d+) \\|").FindAllStringSubmatch(string(text), -1) {
		status, err := strconv.Atoi(row[2])
		if err != nil {
			t.Fatal(err)
		}
		documented[task.Kind(row[1])] = status
	}
	if got := httpapi.StatusOf(); !maps.Equal(got, documented) {
		t.Errorf("the handler has %v, and docs/problems.md %v", got, documented)
	}
}
