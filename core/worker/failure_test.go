package worker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/worker"
)

// classed is an error with an exception's name.
type classed string

func (classed) Error() string                { return "classed" }
func (c classed) ExceptionClassPath() string { return string(c) }

func TestAFailureIsReportedWithItsCause(t *testing.T) {
	_, missing := os.Open("/does/not/exist")
	for name, c := range map[string]struct {
		run       worker.HandlerFunc
		retryable bool
		class     string
		text      []string
	}{
		"an error":        {fails(errors.New("no")), true, "builtins.Exception", []string{"*errors.errorString: no"}},
		"a wrapped error": {fails(fmt.Errorf("read: %w", missing)), true, "builtins.Exception", []string{"read: open /does", "*fs.PathError: open"}},
		"permanent":       {fails(worker.Permanent(errors.New("no"))), false, "builtins.Exception", []string{"*errors.errorString: no"}},
		"permanent inside": {fails(fmt.Errorf("a: %w", worker.Permanent(classed("app.errors.Bad")))),
			false, "app.errors.Bad", []string{"classed: classed"}},
		"no class":                         {fails(classed("")), true, "builtins.Exception", nil},
		"a class with a line":              {fails(classed("a\nb")), true, "builtins.Exception", []string{`exception_class_path: "a\nb"`}},
		"a class too long":                 {fails(classed(strings.Repeat("a.", 150))), true, "builtins.Exception", []string{`exception_class_path: "a.a.`, "classed: classed"}},
		"a class not of ASCII":             {fails(classed("größe.Fehler")), true, "builtins.Exception", []string{`gr\u00f6\u00dfe.Fehler`}},
		"not UTF-8":                        {fails(errors.New("\xff")), true, "builtins.Exception", []string{"\uFFFD"}},
		"a panic":                          {panics("the reason"), true, "builtins.Exception", []string{"panic: the reason", "failure_test.go", "goroutine "}},
		"a panicking result":               {returns(exploding{}), true, "builtins.Exception", []string{"panic: boom"}},
		"a panic with nil":                 {panics(nil), true, "builtins.Exception", []string{"panic called with nil"}},
		"a panic with an error":            {panics(worker.Permanent(errors.New("no"))), true, "builtins.Exception", []string{"panic: no"}},
		"a panic whose text panics":        {panics(hostile{}), true, "builtins.Exception", []string{"PANIC=Error method: hostile"}},
		"a panic whose text exits":         {panics(exiting{}), true, "builtins.Exception", []string{"cannot be described", "Goexit"}},
		"an error whose class panics":      {fails(hostile{}), true, "builtins.Exception", []string{"worker_test.hostile, cannot be described", "panic: hostile"}},
		"an error that is a nil pointer":   {fails((*pointer)(nil)), true, "builtins.Exception", []string{"*worker_test.pointer, cannot be described"}},
		"an ended goroutine":               {exits, true, "builtins.Exception", []string{"without returning (runtime.Goexit)"}},
		"a result that ends its goroutine": {returns(exiting{}), true, "builtins.Exception", []string{"without returning (runtime.Goexit)"}},
		"a nil map":                        {nilMap, true, "builtins.Exception", []string{"assignment to entry in nil map"}},
		"no such handler":                  {worker.NewMux().Run, true, "builtins.Exception", []string{`no handler for task_name "add"`}},
		"wrong arguments":                  {takes(new(string), new(int)), false, "builtins.TypeError", []string{"args[0]: must be string, not number"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t, nil)
				got := s.worker(t, c.run).Process(t.Context(), message())
				if got.Acknowledge == c.retryable || s.events() != "started failed" {
					t.Fatalf("outcome %+v after %s", got, s.events())
				}
				e := s.last()
				if e.Attempt != 1 || e.Retryable != c.retryable || e.Error.ExceptionClassPath != c.class {
					t.Errorf("failed: %+v %s", e.Event, e.Error.ExceptionClassPath)
				}
				for _, text := range c.text {
					if !strings.Contains(e.Error.Traceback, text) {
						t.Errorf("%q is not in the traceback:\n%s", text, e.Error.Traceback)
					}
				}
			})
		})
	}
}

func TestALongTracebackKeepsItsBeginningAndItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, nil) // which holds the event to the contract's limit
		s.worker(t, fails(errors.New("BEGIN"+strings.Repeat("é", 100_000)+"END"))).Process(t.Context(), message())
		text := s.last().Error.Traceback
		n := utf8.RuneCountInString(text)
		if n > task.MaxTraceback || n < task.MaxTraceback-200 || !strings.HasPrefix(text, "*errors.errorString: BEGIN") || !strings.HasSuffix(text, "END\n") {
			t.Errorf("%d characters: %.40q … %q", n, text, text[len(text)-40:])
		}
		var missing int
		_, after, _ := strings.Cut(text, "\n… ")
		if _, err := fmt.Sscanf(after, "%d characters are left out …", &missing); err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("\n… %d characters are left out …\n", missing)
		if got, want := n-utf8.RuneCountInString(line)+missing, len("*errors.errorString: BEGIN")+100_000+len("END\n"); got != want {
			t.Errorf("the line accounts for %d characters of %d", got, want)
		}
	})
}

func TestNoErrorIsNotPermanent(t *testing.T) {
	if err := worker.Permanent(nil); err != nil {
		t.Error(err)
	}
}

func TestTwoHandlersOfOneNameAreRefused(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	mux := worker.NewMux()
	mux.HandleFunc("add", three)
	mux.HandleFunc("add", three)
}

func fails(err error) worker.HandlerFunc {
	return func(context.Context, *worker.Task) (any, error) { return nil, err }
}

func panics(v any) worker.HandlerFunc {
	return func(context.Context, *worker.Task) (any, error) { panic(v) }
}

func returns(v any) worker.HandlerFunc {
	return func(context.Context, *worker.Task) (any, error) { return v, nil }
}

func takes(dst ...any) worker.HandlerFunc {
	return func(_ context.Context, t *worker.Task) (any, error) { return nil, t.Args(dst...) }
}

func nilMap(context.Context, *worker.Task) (any, error) {
	var m map[string]int
	m["a"] = 1 //lint:ignore SA5000 the panic is the point
	return m, nil
}

func exits(context.Context, *worker.Task) (any, error) {
	runtime.Goexit()
	return nil, nil
}

// hostile is an error whose methods panic, as one does that is a nil pointer.
type hostile struct{}

func (hostile) Error() string              { panic("hostile") }
func (hostile) ExceptionClassPath() string { panic("hostile") }

// exiting is an error, and a result, whose methods end their goroutine.
type exiting struct{}

func (exiting) Error() string                { runtime.Goexit(); return "" }
func (exiting) MarshalJSON() ([]byte, error) { runtime.Goexit(); return nil, nil }

type pointer struct{ text string }

func (p *pointer) Error() string              { return p.text }
func (p *pointer) ExceptionClassPath() string { return p.text }

type exploding struct{}

func (exploding) MarshalJSON() ([]byte, error) { panic("boom") }
