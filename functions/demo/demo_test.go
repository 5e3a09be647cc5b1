package demo_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskgate/taskgate/core/worker"
	"github.com/taskgate/taskgate/functions/demo"
)

func run(ctx context.Context, name, args, kwargs string, attempt int) (string, error) {
	result, err := demo.Mux().Run(ctx, &worker.Task{
		Name: name, Attempt: attempt, RawArgs: json.RawMessage(args), RawKwargs: json.RawMessage(kwargs),
	})
	if err != nil {
		return "", err
	}
	encoded, err := json.Marshal(result)
	return string(encoded), err
}

func TestDemoHandlersReturnTheirDocumentedResults(t *testing.T) {
	for _, c := range []struct {
		name, args, kwargs string
		attempt            int
		want               string // a result, or "error: " and a part of one
	}{
		{"echo", `[1,"a"]`, `{"n":12345678901234567890}`, 1, `{"args":[1,"a"],"kwargs":{"n":12345678901234567890}}`},
		{"add", `[]`, `{}`, 1, `0`},
		{"add", `[1,2,-4]`, `{}`, 1, `-1`},
		{"add", `[12345678901234567890,1]`, `{}`, 1, `12345678901234567891`},
		{"add", `[0.5,1,1e2]`, `{}`, 1, `101.5`},
		{"add", `[1,"2"]`, `{}`, 1, `error: args[1]: must be a number`},
		{"add", `[1e400]`, `{}`, 1, `error: args[0]`},
		{"add", `[1]`, `{"n":1}`, 1, `error: "n" is not an argument of add`},
		{"sleep", `[0]`, `{}`, 1, `0`},
		{"sleep", `[]`, `{"seconds":0}`, 1, `0`},
		{"sleep", `[]`, `{}`, 1, `error: must be 1 positional arguments, not 0`},
		{"sleep", `[1]`, `{"seconds":1}`, 1, `error: must be 0 positional arguments, not 1`},
		{"sleep", `[3601]`, `{}`, 1, `error: seconds must be from 0 to 3600`},
		{"sleep", `[-1]`, `{}`, 1, `error: seconds must be from 0 to 3600`},
		{"fail", `[]`, `{}`, 1, `error: this task always fails`},
		{"fail", `["on purpose"]`, `{}`, 1, `error: on purpose`},
		{"flaky", `[]`, `{}`, 1, `error: attempt 1 of a task that fails 1 times`},
		{"flaky", `[]`, `{}`, 2, `{"attempt":2}`},
		{"flaky", `[]`, `{"failures":3}`, 3, `error: attempt 3`},
		{"flaky", `[]`, `{"failures":3}`, 4, `{"attempt":4}`},
		{"other", `[]`, `{}`, 1, `error: no handler for task_name "other"`},
	} {
		got, err := run(t.Context(), c.name, c.args, c.kwargs, c.attempt)
		text, wantsError := strings.CutPrefix(c.want, "error: ")
		switch {
		case wantsError && (err == nil || !strings.Contains(err.Error(), text)):
			t.Errorf("%s%s%s: error %v, want %q", c.name, c.args, c.kwargs, err, text)
		case !wantsError && (err != nil || got != c.want):
			t.Errorf("%s%s%s = %s, %v, want %s", c.name, c.args, c.kwargs, got, err, c.want)
		}
	}
}

func TestSleepTakesItsTimeAndCanBeCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if got, err := run(t.Context(), "sleep", `[20]`, `{}`, 1); got != "20" || err != nil || time.Since(began) != 20*time.Second {
			t.Errorf("%s, %v, after %v", got, err, time.Since(began))
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(worker.ErrCancelRequested) })
		began = time.Now()
		if _, err := run(ctx, "sleep", `[20]`, `{}`, 1); !errors.Is(err, worker.ErrCancelRequested) || time.Since(began) != time.Second {
			t.Errorf("%v, after %v", err, time.Since(began))
		}
	})
}
