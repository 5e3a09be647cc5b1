package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/core/worker"
	"github.com/taskgate/taskgate/functions/demo"
)

// TestFunctionFoldersMatchTheCode is inside the
// package, for nothing can import a main.
func TestFunctionFoldersMatchTheCode(t *testing.T) {
	w, err := worker.New(worker.Config{Handler: demo.Mux(), EventsBase: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*/function.json")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		names = append(names, filepath.Dir(file))
	}
	inCode := functions(w)
	if want := slices.Sorted(maps.Keys(inCode)); !slices.Equal(names, want) {
		t.Errorf("the folders are %q, the code has %q", names, want)
	}
	// What a queue gave up on goes to the function that pauses, and to no other.
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var f struct {
			Bindings []struct{ QueueName, SubscriptionName string }
		}
		if err := json.Unmarshal(text, &f); err != nil || len(f.Bindings) != 1 {
			t.Fatalf("%s: %v", file, err)
		}
		source := f.Bindings[0].QueueName + f.Bindings[0].SubscriptionName
		dead := strings.HasSuffix(source, "/$deadletterqueue") || strings.HasSuffix(source, "-poison")
		if f, ok := inCode[filepath.Dir(file)]; ok && (f.Pause > 0) != dead {
			t.Errorf("%s reads %s and is for dead letters: %t", filepath.Dir(file), source, f.Pause > 0)
		}
	}
}
