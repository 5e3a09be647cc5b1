// Package child runs processes that cannot outlive the test that started them: each has its own
// process group, which is killed as a whole, and on Linux the kernel kills the process when its
// parent dies.
package child

import (
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a running (or ended) child.
type Process struct {
	cmd  *exec.Cmd
	out  *Output
	done chan struct{}
}

// Start starts cmd, with both of its outputs going to out, which is closed when the process has
// ended. Cmd's own Stdout, Stderr and SysProcAttr are overwritten.
func Start(cmd *exec.Cmd, out *Output) (*Process, error) {
	p := &Process{cmd: cmd, out: out, done: make(chan struct{})}
	out.open()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = attributes()
	cmd.WaitDelay = time.Second // a grandchild that keeps the pipe open must not hold up Wait
	started := make(chan error)
	go func() {
		// The parent-death signal is bound to the thread that forks, so this thread has to live as
		// long as the child: prctl(2), PR_SET_PDEATHSIG.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // how it ended is in ProcessState
		out.close()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Done is closed once the process has ended and all its output has been read.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode is the exit code of an ended process, −1 if a signal ended it. It waits for the end.
func (p *Process) ExitCode() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// PID is the process's id, which is also its group's.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the process and its group with SIGKILL and waits for the end. Killing an ended process
// does nothing.
func (p *Process) Kill() {
	select {
	case <-p.done:
		return
	default:
	}
	_ = syscall.Kill(-p.PID(), syscall.SIGKILL)
	<-p.done
}

// atWork matches the stacks of goroutines that do not wait.
var atWork = regexp.MustCompile(`^goroutine .*\[(running|runnable|syscall)\b`)

// Goroutines ends the process with SIGQUIT, on which Go's runtime prints the stacks of all goroutines,
// and returns those that match and wait for something: one that runs may be about to end, as that of a
// request is which has just been answered. It fails the test when none at all are printed.
// https://pkg.go.dev/runtime#hdr-Environment_Variables
func (p *Process) Goroutines(t testing.TB, match *regexp.Regexp) (found []string) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	<-p.done
	_, dump, _ := strings.Cut(p.out.String(), "SIGQUIT: quit")
	if !strings.Contains(dump, "\ngoroutine ") {
		t.Errorf("the process printed no goroutines: %.1000s", dump)
	}
	for _, stack := range strings.Split(dump, "\n\n") {
		if strings.HasPrefix(stack, "goroutine ") && match.MatchString(stack) && !atWork.MatchString(stack) {
			found = append(found, stack)
		}
	}
	return found
}
