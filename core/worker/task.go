package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/taskgate/taskgate/core/task"
)

// Task is one attempt at a task, as its handler sees it.
type Task struct {
	ID          string
	Name        string    // task_name
	Attempt     int       // from 1; 0 when observing
	EnqueuedAt  time.Time // UTC
	MaxAttempts int       // 0 = the broker's redelivery alone decides
	Metadata    map[string]string

	Traceparent, Tracestate string // W3C Trace Context of the request that enqueued it; "" = none

	RawArgs   json.RawMessage // the JSON array as it was sent; large integers keep all their digits
	RawKwargs json.RawMessage // the JSON object as it was sent

	progress func(ctx context.Context, p task.Progress) error
}

// Args decodes the positional arguments, one into each pointer, as
// encoding/json does. The error is [Permanent] when the number of arguments differs
// from the number of pointers, when an argument has the wrong type, or when it is
// null and its Go type has no nil.
func (t *Task) Args(dst ...any) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(t.RawArgs, &raw); err != nil {
		return badArgument("args", err)
	}
	if len(raw) != len(dst) {
		return badArgument("args", fmt.Errorf("must be %d positional arguments, not %d", len(dst), len(raw)))
	}
	for i, to := range dst {
		where := fmt.Sprintf("args[%d]", i)
		if bytes.Equal(raw[i], []byte("null")) && !nullable(to) {
			return badArgument(where, fmt.Errorf("must be %s, not null", reflect.TypeOf(to).Elem()))
		}
		if err := json.Unmarshal(raw[i], to); err != nil {
			return badArgument(where, err)
		}
	}
	return nil
}

// nullable reports whether the type that the pointer points at has a value for
// null. For any other type encoding/json would silently keep the zero value.
func nullable(pointer any) bool {
	if _, ok := pointer.(json.Unmarshaler); ok {
		return true
	}
	switch reflect.TypeOf(pointer).Elem().Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Map, reflect.Slice:
		return true
	}
	return false
}

// Kwargs decodes the keyword arguments into the pointer's struct, as
// encoding/json does, with one difference: an argument whose name is not exactly
// the name of a field is a [Permanent] error. A field whose argument is absent or
// null keeps its value.
func (t *Task) Kwargs(dst any) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(t.RawKwargs, &raw); err != nil {
		return badArgument("kwargs", err)
	}
	if typ := reflect.TypeOf(dst).Elem(); typ.Kind() == reflect.Struct {
		known := names(typ)
		for name := range raw {
			if !known[name] {
				return badArgument("kwargs", fmt.Errorf("%q is not an argument of %s", name, t.Name))
			}
		}
	}
	if err := json.Unmarshal(t.RawKwargs, dst); err != nil {
		return badArgument("kwargs", err)
	}
	return nil
}

// names returns the JSON names of a struct's fields. encoding/json alone would
// also accept them in any case, and ignore all others.
func names(typ reflect.Type) map[string]bool {
	known := map[string]bool{}
	for _, f := range reflect.VisibleFields(typ) {
		tag := f.Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		switch {
		case tag == "-" || !f.IsExported() || f.Anonymous && name == "":
		case name == "":
			known[f.Name] = true
		default:
			known[name] = true
		}
	}
	return known
}

// badArgument explains an argument that the handler cannot take. Trying again
// cannot change it.
func badArgument(where string, err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		if wrong.Field != "" {
			where += "." + wrong.Field
		}
		err = fmt.Errorf("must be %s, not %s", wrong.Type, wrong.Value)
	}
	return Permanent(argumentError(where + ": " + strings.TrimPrefix(err.Error(), "json: ")))
}

type argumentError string

func (e argumentError) Error() string { return string(e) }

// ExceptionClassPath is what a Python function raises for arguments that it
// does not take.
func (argumentError) ExceptionClassPath() string { return "builtins.TypeError" }

// Progress reports how far the task is, and extends the lease. Whoever looks the
// task up sees it. The fraction is from 0 to 1, and the message has at most 1,000
// characters.
//
// An error means that the handler should return: its context has ended, or one
// of the values is not allowed. If the report does not reach the service, that is
// logged and is not an error, because a task can do without it.
func (t *Task) Progress(ctx context.Context, fraction float64, message string) error {
	switch {
	case math.IsNaN(fraction) || fraction < 0 || fraction > 1:
		return Permanent(fmt.Errorf("progress: the fraction must be from 0 to 1, not %v", fraction))
	case !utf8.ValidString(message) || utf8.RuneCountInString(message) > 1000:
		return Permanent(errors.New("progress: the message must be UTF-8 and have at most 1000 characters"))
	case t.progress == nil: // observing, or in a test of the handler
		return context.Cause(ctx)
	}
	return t.progress(ctx, task.Progress{Fraction: fraction, Message: message})
}
