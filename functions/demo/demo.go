// Package demo is the worker that taskgate runs when no other worker is configured.
// It has five handlers to try the service with.
package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"time"

	"github.com/taskgate/taskgate/core/worker"
)

// Mux returns the demo's handlers:
//
//	echo   returns {"args": …, "kwargs": …} unchanged
//	add    returns the sum of its positional numbers; the sum of integers is exact
//	sleep  sleeps for seconds (0 to 3600; positional or keyword) and reports progress
//	fail   fails permanently; the error text is its positional string, if there is one
//	flaky  fails its first attempts; the keyword failures says how many, by default 1
func Mux() *worker.Mux {
	mux := worker.NewMux()
	mux.HandleFunc("echo", echo)
	mux.HandleFunc("add", add)
	mux.HandleFunc("sleep", sleep)
	mux.HandleFunc("fail", fail)
	mux.HandleFunc("flaky", flaky)
	return mux
}

func echo(_ context.Context, t *worker.Task) (any, error) {
	return map[string]json.RawMessage{"args": t.RawArgs, "kwargs": t.RawKwargs}, nil
}

func add(_ context.Context, t *worker.Task) (any, error) {
	if err := t.Kwargs(&struct{}{}); err != nil {
		return nil, err
	}
	var numbers []any
	d := json.NewDecoder(bytes.NewReader(t.RawArgs))
	d.UseNumber()
	if err := d.Decode(&numbers); err != nil {
		return nil, worker.Permanent(err)
	}
	whole, sum, exact := new(big.Int), 0.0, true
	for i, v := range numbers {
		n, ok := v.(json.Number)
		if !ok {
			return nil, worker.Permanent(fmt.Errorf("args[%d]: must be a number", i))
		}
		f, err := n.Float64()
		if err != nil {
			return nil, worker.Permanent(fmt.Errorf("args[%d]: %w", i, err))
		}
		sum += f
		if part, ok := new(big.Int).SetString(n.String(), 10); ok {
			whole.Add(whole, part)
		} else {
			exact = false
		}
	}
	if exact {
		return whole, nil
	}
	return sum, nil
}

func sleep(ctx context.Context, t *worker.Task) (any, error) {
	var kwargs struct {
		Seconds *float64 `json:"seconds"`
	}
	if err := t.Kwargs(&kwargs); err != nil {
		return nil, err
	}
	var seconds float64
	if kwargs.Seconds != nil {
		seconds = *kwargs.Seconds
		if err := t.Args(); err != nil {
			return nil, err
		}
	} else if err := t.Args(&seconds); err != nil {
		return nil, err
	}
	if seconds < 0 || seconds > 3600 {
		return nil, worker.Permanent(fmt.Errorf("seconds must be from 0 to 3600, not %v", seconds))
	}
	// Report progress after every tenth, but at most four times a second.
	steps := int(math.Max(1, math.Min(10, seconds*4)))
	for i := range steps {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Duration(seconds / float64(steps) * float64(time.Second))):
		}
		done := float64(i+1) / float64(steps)
		if err := t.Progress(ctx, done, fmt.Sprintf("slept %.2f of %v s", seconds*done, seconds)); err != nil {
			return nil, err
		}
	}
	return seconds, nil
}

func fail(_ context.Context, t *worker.Task) (any, error) {
	text := "this task always fails"
	if string(t.RawArgs) != "[]" {
		if err := t.Args(&text); err != nil {
			return nil, err
		}
	}
	return nil, worker.Permanent(fmt.Errorf("%s", text))
}

func flaky(_ context.Context, t *worker.Task) (any, error) {
	kwargs := struct {
		Failures int `json:"failures"`
	}{Failures: 1}
	if err := t.Args(); err != nil {
		return nil, err
	}
	if err := t.Kwargs(&kwargs); err != nil {
		return nil, err
	}
	if t.Attempt <= kwargs.Failures {
		return nil, fmt.Errorf("attempt %d of a task that fails %d times", t.Attempt, kwargs.Failures)
	}
	return map[string]int{"attempt": t.Attempt}, nil
}
