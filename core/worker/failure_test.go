package worker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
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
		"a class that cannot be": {fails(classed("")), true, "builtins.Exception", nil},
		"a class with a line":    {fails(classed("a\nb")), true, "builtins.Exception", nil},
		"not UTF-8":              {fails(errors.New("\xff")), true, "builtins.Exception", []string{"\uFFFD"}},
		"a panic":                {panics("the reason"), true, "builtins.Exception", []string{"panic: the reason", "failure_test.go", "goroutine "}},
		"a panicking result":     {returns(exploding{}), true, "builtins.Exception", []string{"panic: boom"}},
		"a nil map":              {nilMap, true, "builtins.Exception", []string{"assignment to entry in nil map"}},
		"no such handler":        {worker.NewMux().Run, true, "builtins.Exception", []string{`no handler for task_name "add"`}},
		"wrong arguments":        {takes(new(string), new(int)), false, "builtins.TypeError", []string{"args[0]: must be string, not number"}},
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

func TestALongTracebackIsCutAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t, nil) // which holds the event to the contract's limit
		s.worker(t, fails(errors.New(strings.Repeat("é", 100_000)))).Process(t.Context(), message())
		text := s.last().Error.Traceback
		if n := utf8.RuneCountInString(text); n != task.MaxTraceback || !strings.HasSuffix(text, "(cut: it was longer)\n") {
			t.Errorf("%d characters, ending in %q", n, text[len(text)-40:])
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

type exploding struct{}

func (exploding) MarshalJSON() ([]byte, error) { panic("boom") }
