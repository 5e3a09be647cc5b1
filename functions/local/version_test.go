package main_test

import (
	"debug/buildinfo"
	"os/exec"
	"strings"
	"testing"
)

// TestVersionPrintsWhatTheBuildStamped compares the command's line with what the
// go command wrote into the same file.
func TestVersionPrintsWhatTheBuildStamped(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(binary, "version").Output()
	if err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	want := "taskgate " + info.Main.Version + " (" + info.GoVersion + ", "
	if info.Main.Version == "" || !strings.HasPrefix(string(out), want) {
		t.Errorf("the command printed %q, and the binary was stamped %q", out, want)
	}
}
