package worker

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"unicode/utf8"

	"github.com/taskgate/taskgate/core/task"
)

// The causes that a handler's context ends with; see [context.Cause].
var (
	// ErrCancelRequested: somebody asked for the task to be cancelled. An error
	// that the handler returns now means that it obeyed, and a result still counts.
	ErrCancelRequested = errors.New("the task was asked to cancel")

	// ErrLost: the attempt does not count any more, because a newer one has
	// started or the task has ended or is gone. Whatever the handler returns is
	// dropped.
	ErrLost = errors.New("the attempt is lost")
)

// Permanent marks an error that trying again cannot change: it ends the task
// FAILED at once. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}

type permanent struct{ error }

func (p *permanent) Unwrap() error { return p.error }

// panicked is a handler's panic, as an error.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// recovered turns a panic into an error. It is to be deferred.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = &panicked{v, debug.Stack()}
	}
}

// failed returns the event that reports the error of an attempt.
func failed(err error) task.Event {
	var final *permanent
	return task.Event{
		Type:      task.EventFailed,
		Retryable: !errors.As(err, &final),
		Error:     &task.TaskError{ExceptionClassPath: classPath(err), Traceback: traceback(err)},
	}
}

// classPath names the exception that stands for the error. Django imports it,
// so it must be a BaseException's, and one that is there: the default is Python's own.
func classPath(err error) string {
	const otherwise = "builtins.Exception"
	var named interface{ ExceptionClassPath() string }
	if !errors.As(err, &named) {
		return otherwise
	}
	path := named.ExceptionClassPath()
	if path == "" || len(path) > 255 || !printable(path) {
		return otherwise
	}
	return path
}

// traceback renders the text and the Go types of an error and of those that it
// wraps, or a panic's stack, within what an event may carry.
func traceback(err error) string {
	var b strings.Builder
	for e := err; e != nil; e = errors.Unwrap(e) {
		switch e := e.(type) {
		case *permanent: // only a mark: the next in the chain has its text
		case *panicked:
			fmt.Fprintf(&b, "%v\n\n%s", e, e.stack)
		default:
			fmt.Fprintf(&b, "%T: %v\n", e, e)
		}
	}
	s := strings.ToValidUTF8(b.String(), "\uFFFD")
	const cut = "\n(cut: it was longer)\n"
	if utf8.RuneCountInString(s) > task.MaxTraceback {
		s = string([]rune(s)[:task.MaxTraceback-len(cut)]) + cut
	}
	return s
}
