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

// errExited is the error of a handler that called runtime.Goexit, as
// testing.T.FailNow does.
var errExited = errors.New("the handler ended its goroutine without returning (runtime.Goexit)")

// guard runs f and returns its error. If f panics or ends its goroutine, guard
// returns an error too, so that a handler cannot keep a worker from reporting. The goroutine
// that f runs in has ended when guard returns.
func guard(f func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				err = &panicked{v, debug.Stack()}
			}
		}()
		err = errExited // stands if f does not return
		err = f()
	}()
	<-done
	return err
}

// failed returns the event that reports the error of an attempt.
func failed(err error) task.Event {
	e := task.Event{Type: task.EventFailed, Retryable: true}
	// The handler may have written the error's methods, so they may panic.
	broken := guard(func() error {
		var final *permanent
		retryable := !errors.As(err, &final)
		class, instead := classPath(err)
		e.Retryable, e.Error = retryable, &task.TaskError{ExceptionClassPath: class, Traceback: shorten(instead + traceback(err))}
		return nil
	})
	if broken != nil {
		e.Error = &task.TaskError{
			ExceptionClassPath: defaultClass,
			Traceback:          shorten(fmt.Sprintf("the handler's error, a %T, cannot be described\n%s", err, traceback(broken))),
		}
	}
	return e
}

// defaultClass is an exception that every Django can import.
const defaultClass = "builtins.Exception"

// maxClass is the most characters of an exception_class_path.
const maxClass = 255

// classPath returns the path of the exception that stands for the error. Django
// imports it, so it must be the path of an existing BaseException. If the error
// names a path that no event may carry, class is [defaultClass], and instead is a
// line for the traceback that shows the path.
func classPath(err error) (class, instead string) {
	var named interface{ ExceptionClassPath() string }
	if !errors.As(err, &named) {
		return defaultClass, ""
	}
	path := named.ExceptionClassPath()
	switch {
	case path == "":
		return defaultClass, ""
	case len(path) > maxClass || !printable(path):
		return defaultClass, fmt.Sprintf("exception_class_path: %+.1000q\n", path)
	}
	return path, ""
}

// traceback renders the text and the Go type of an error and of the errors that
// it wraps, and the stack of a panic.
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
	return b.String()
}

// shorten makes a text fit into an event. Bytes that are not UTF-8 become U+FFFD.
// A text that is too long keeps its beginning and its end, where the reason of
// most tracebacks is, with a line between that says how much is missing.
func shorten(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	n := utf8.RuneCountInString(text)
	if n <= task.MaxTraceback {
		return text
	}
	const room = 100 // for the line
	kept := []rune(text)
	half := (task.MaxTraceback - room) / 2
	line := fmt.Sprintf("\n… %d characters are left out …\n", n-2*half)
	return string(kept[:half]) + line + string(kept[n-half:])
}
