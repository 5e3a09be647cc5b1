package settings_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestEveryOptionIsDocumented finds the options where they are read.
func TestEveryOptionIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/backends.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range []string{"aws.go", "azure.go", "local.go", "kinds.go", "tasks.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, option := range regexp.MustCompile(`"((?:AWS|EVENTBRIDGE|SERVICEBUS|STORAGE|LOCAL)_[A-Z_]+|PAYLOAD)"`).FindAllStringSubmatch(string(source), -1) {
			found++
			if !strings.Contains(string(text), "`"+option[1]+"`") {
				t.Errorf("docs/backends.md does not have %s", option[1])
			}
		}
	}
	if found < 25 {
		t.Errorf("only %d options were found", found)
	}
}
