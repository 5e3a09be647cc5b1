package docs_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/core/httpapi"
)

// contractProblems returns the codes of the contract and, for those that one of
// its responses has, the status that it has there.
func contractProblems(t *testing.T) (codes []string, statuses map[string]string) {
	t.Helper()
	type schema struct {
		Properties struct {
			Status struct{ Const json.Number }
			Code   struct {
				Const string
				Enum  []string
			}
		}
	}
	var document struct {
		Components struct {
			Schemas   struct{ ProblemCode struct{ Enum []string } }
			Responses map[string]struct {
				Content map[string]struct{ Schema schema }
			}
		}
	}
	if err := json.Unmarshal(httpapi.OpenAPI(), &document); err != nil {
		t.Fatal(err)
	}
	statuses = map[string]string{}
	for name, response := range document.Components.Responses {
		s := response.Content["application/problem+json"].Schema
		own := s.Properties.Code.Enum
		if c := s.Properties.Code.Const; c != "" {
			own = append(own, c)
		}
		for _, code := range own {
			status := s.Properties.Status.Const.String()
			if other := statuses[code]; other != "" && other != status {
				t.Errorf("response %s: %s has the status %s, and elsewhere %s", name, code, status, other)
			}
			statuses[code] = status
		}
	}
	return document.Components.Schemas.ProblemCode.Enum, statuses
}

func TestEveryProblemOfTheContractIsDocumentedOnce(t *testing.T) {
	codes, want := contractProblems(t)
	if unused := slices.DeleteFunc(slices.Clone(codes), func(c string) bool { return want[c] != "" }); len(unused) > 0 {
		t.Errorf("no response of the contract has %s", strings.Join(unused, ", "))
	}
	text, err := os.ReadFile("../../docs/problems.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (\\d+) \\|[^|]+\\|[^|]+\\|$").FindAllStringSubmatch(string(text), -1) {
		if documented[row[1]] != "" {
			t.Errorf("%s is documented twice", row[1])
		}
		documented[row[1]] = row[2]
	}
	for _, code := range slices.Sorted(maps.Keys(want)) {
		if documented[code] != want[code] {
			t.Errorf("../../docs/problems.md says that %s is %q, and openapi.yaml %s", code, documented[code], want[code])
		}
		if !slices.Contains(codes, code) {
			t.Errorf("%s is not one of the schema ProblemCode", code)
		}
		delete(documented, code)
	}
	for code := range documented {
		t.Errorf("../../docs/problems.md has %s, and openapi.yaml has not", code)
	}
}
