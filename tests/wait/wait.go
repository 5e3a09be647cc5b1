// Package wait says how long tests wait.
//
// Tests run beside compilers and other tests, on machines with two processors. A
// deadline in a test is there to end a test that hangs. It must not measure how
// busy the machine is: a process that starts in 0.2 s alone may take 20 s there.
package wait

import (
	"testing"
	"time"
)

// Patience is how long a test waits for something that must happen. A test that
// passes never waits that long.
const Patience = 2 * time.Minute

// Slack is what a busy machine may add to a call whose own time is bounded. A call
// that takes longer than its bound and this has no bound.
const Slack = 20 * time.Second

// Succeeds calls until a call returns no error, one call after the other without a
// pause. It fails the test with the last error when [Patience] runs out.
func Succeeds(t testing.TB, what string, call func() error) {
	t.Helper()
	for deadline := time.Now().Add(Patience); ; {
		err := call()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s: %v", Patience, what, err)
		}
	}
}
