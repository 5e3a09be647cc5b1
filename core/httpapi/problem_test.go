package httpapi_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/strictjson"
	"github.com/taskgate/taskgate/core/task"
)

// TestEveryKindHasItsDocumentedStatus compares with docs/problems.md,
// which its own test holds to openapi.yaml.
func TestEveryKindHasItsDocumentedStatus(t *testing.T) {
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

func TestProblemSizeIsBounded(t *testing.T) {
	a := newAPI(t)
	body := []byte("{")
	for i := range 5000 {
		body = fmt.Appendf(body, `"%d":0,`, i)
	}
	mistakes := string(body) + `"":0}`
	_, single := a.bad("POST", "/v1/tasks", mistakes)
	var batch struct {
		Items []struct {
			Problem httpapi.Problem `json:"problem"`
		} `json:"items"`
	}
	r, _ := a.bad("POST", "/v1/tasks/batch", `{"tasks":[`+mistakes+`]}`)
	r.decode(t, &batch)
	for most, errors := range map[int][]strictjson.FieldError{64 << 10: single.Errors, 4 << 10: batch.Items[0].Problem.Errors} {
		size := 0
		for _, e := range errors {
			size += len(e.Pointer) + len(e.Detail) + 27
		}
		last := errors[len(errors)-1]
		if more := fmt.Sprintf("%d more", 5000+2-len(errors)+1); size < most-200 || size > most+200 || last.Pointer != "" || !strings.Contains(last.Detail, more) {
			t.Errorf("of %d bytes: %d errors with %d, the last is %+v, not %s", most, len(errors), size, last, more)
		}
	}
}
