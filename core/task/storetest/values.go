package storetest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

var valueCases = []Case{
	{"every field comes back as it was", keepsFields},
	{"a record with hardly a field set comes back as it was", keepsBareRecord},
	{"numbers come back digit for digit", keepsNumbers},
	{"text comes back byte for byte", keepsText},
	{"times keep their microseconds", keepsMicroseconds},
}

// comesBack checks that a record is the same after Create and after Replace.
func comesBack(ctx context.Context, s Subject, r *task.Record) error {
	if err := create(ctx, s.Store, r); err != nil {
		return err
	}
	if err := stored(ctx, s.Store, r); err != nil {
		return fmt.Errorf("created: %w", err)
	}
	if err := s.Store.Replace(ctx, r); err != nil {
		return fmt.Errorf("Replace: %w", err)
	}
	if err := stored(ctx, s.Store, r); err != nil {
		return fmt.Errorf("replaced: %w", err)
	}
	return nil
}

func keepsFields(ctx context.Context, s Subject) error { return comesBack(ctx, s, full()) }

func keepsBareRecord(ctx context.Context, s Subject) error {
	bare := &task.Record{ID: newID(), EnqueuedAt: now(), DeleteAfter: now().Plus(time.Hour)}
	if err := comesBack(ctx, s, bare); err != nil {
		return err
	}
	empty := small() // empty is the same as absent
	empty.Errors, empty.WorkerIDs, empty.AttemptEnds = []task.TaskError{}, []string{}, []string{}
	empty.Metadata = map[string]string{}
	return comesBack(ctx, s, empty)
}

func keepsNumbers(ctx context.Context, s Subject) error {
	r := small()
	r.Args = `[12345678901234567890,1.10,1e2,1E+2,-0,0.1000000000000000055511151231257827,1e400]`
	r.Kwargs = `{"n":99999999999999999999999,"m":[10.0,3.0]}`
	r.ReturnValue = `20000000000000000001.50`
	r.MaxAttempts = 1000
	r.Progress = &task.Progress{Fraction: 1.0 / 3}
	return comesBack(ctx, s, r)
}

func keepsText(ctx context.Context, s Subject) error {
	nasty := "<&>'\" é 日本 😀 \u2028\u2029 \ufeff \ufffd \ufffe \x7f \u0085"
	r := small()
	r.Args = `[ "` + strings.ReplaceAll(nasty, `"`, `\"`) + `" , "\u00e9\u2028\ud83d\ude00\u0000\/\ufffe\u003c" ]`
	// Names out of order, and two that differ by their case only.
	r.Kwargs = `{"z":null,"a":"\n","A":[[],{},""],"` + "\u2028" + `":true}`
	r.ReturnValue = `"</script>\u0000"`
	r.Metadata = map[string]string{"<k> é": nasty, "Tab\t": "line\r\nline", "e\u0301": "decomposed", "\u00e9": "composed"}
	r.TaskName, r.QueueName, r.Group, r.Owner = "é.<b>", "q'q", nasty, "https://issuer.example/|sub#1 "+newID()
	r.Errors = []task.TaskError{{ExceptionClassPath: "a.B", Traceback: nasty + "\n\ttab\r\n"}}
	r.WorkerIDs = []string{nasty, " ", "😀"}
	r.Progress = &task.Progress{Message: nasty}
	r.Refusal = &task.Refusal{Kind: task.MessageRejected, Msg: nasty}
	return comesBack(ctx, s, r)
}

func keepsMicroseconds(ctx context.Context, s Subject) error {
	r := small()
	base := now()
	r.EnqueuedAt, r.StartedAt = base.Plus(time.Microsecond), base.Plus(999999*time.Microsecond)
	r.LastAttemptedAt, r.FinishedAt = base.Plus(123456*time.Microsecond), base.Plus(100*time.Millisecond)
	r.RunAfter = task.At(time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC))
	r.ExpiresAt, r.LeaseUntil = base.Plus(10*time.Microsecond), base.Plus(500000*time.Microsecond)
	r.Keyed = &task.Keyed{DispatchUntil: base.Plus(654321 * time.Microsecond)}
	if err := comesBack(ctx, s, r); err != nil {
		return err
	}
	later := small() // by one microsecond, and so first in a listing
	later.Owner, later.EnqueuedAt = r.Owner, r.EnqueuedAt.Plus(time.Microsecond)
	if err := create(ctx, s.Store, later); err != nil {
		return err
	}
	return s.eventually(ctx, func() error {
		got, err := walk(ctx, s.Store, task.Query{Owner: r.Owner, Limit: 1})
		if err != nil {
			return err
		}
		return inOrder(got, []*task.Record{later, r})
	})
}
