package snsdispatch_test

import (
	"os"
	"path/filepath"
	"testing"
)

// TestMain repairs the emulator, which refuses characters that SQS takes.
func TestMain(m *testing.M) {
	repair, err := filepath.Abs("testdata/fauxqs-repair.mjs")
	if err != nil {
		panic(err)
	}
	os.Setenv("NODE_OPTIONS", "--import="+repair)
	os.Exit(m.Run())
}
