package storetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/task"
)

// newID returns an id that sorts anywhere among the others, as the ids of keyed
// tasks do, so that nothing can lean on ids that grow.
func newID() string { return task.KeyedID("storetest", task.NewID()) }

// now returns the time at the start of this second: only the case about
// fractions of a second depends on them.
func now() task.Time { return task.At(time.Now().Truncate(time.Second)) }

// small returns a record as a service stores it first, with an owner of its own.
func small() *task.Record {
	at := now()
	return &task.Record{
		ID: newID(), TaskName: "app.tasks.send", Status: task.Ready, EnqueuedAt: at,
		Args: `[1,"two"]`, Kwargs: `{"three":3}`, Backend: "default", QueueName: "mail",
		Owner: "owner-" + newID(), Dispatch: task.Dispatch{Target: "memory", Route: "memory"},
		DeleteAfter: at.Plus(24 * time.Hour),
	}
}

// full returns a record with a value in each field, and each value another.
func full() *task.Record {
	r := small()
	at := r.EnqueuedAt
	r.Status = task.Running
	r.StartedAt, r.FinishedAt, r.LastAttemptedAt = at.Plus(time.Second), at.Plus(2*time.Second), at.Plus(3*time.Second)
	r.Priority = 7
	r.RunAfter, r.ExpiresAt, r.LeaseUntil = at.Plus(4*time.Second), at.Plus(5*time.Second), at.Plus(6*time.Second)
	r.TakesContext, r.CancelRequested, r.Offloaded = true, true, true
	r.Errors = []task.TaskError{{ExceptionClassPath: "builtins.ValueError", Traceback: "line 1\nline 2\n"}, {ExceptionClassPath: "a.B"}}
	r.WorkerIDs = []string{"worker-b", "worker-a", "worker-b"}
	r.ReturnValue = `{"done":true}`
	r.Metadata = map[string]string{"tenant": "acme", "empty": "", "UPPER": "kept"}
	r.Progress = &task.Progress{Fraction: 0.1, Message: "a tenth"}
	r.MaxAttempts, r.Group = 5, "group-1"
	r.Schema = 2
	r.Unknown = map[string]jsontext.Value{ // as a later version would write them
		"later_text": jsontext.Value(`"é \u0000"`), "later_flag": jsontext.Value(`true`), "later_number": jsontext.Value(`1.25`),
		"later_time": jsontext.Value(`"2027-01-01T00:00:00.000000Z"`), "later_list": jsontext.Value(`["a",null,{"b":[]}]`),
	}
	r.Dispatch.MessageID, r.Dispatch.CancelRef, r.Dispatch.Queue = "message-1", "cancel-1", "queue-high"
	r.AttemptLog = []task.Attempt{
		{Attempt: 1, WorkerID: "worker-b", StartedAt: at.Plus(time.Second), EndedAt: at.Plus(2 * time.Second), Outcome: "failed"},
		{Attempt: 2, WorkerID: "worker-a", StartedAt: at.Plus(3 * time.Second)},
	}
	r.Ended, r.AttemptEnds, r.DeliveryID = "failed", []string{"lapsed", "failed"}, "delivery-1"
	r.ReleasedID = "delivery-0"
	r.Refusal = &task.Refusal{Kind: task.MessageRejected, Msg: "the target says no"}
	r.Keyed = &task.Keyed{Fingerprint: "f00d", Dispatched: true, DispatchUntil: at.Plus(7 * time.Second)}
	return r
}

// same checks that every field but the revision is equal, and names those that
// are not. Empty and absent lists and maps are equal.
func same(got, want *task.Record) error {
	a, b := reflect.ValueOf(*got), reflect.ValueOf(*want)
	for i := range a.NumField() {
		name := a.Type().Field(i).Name
		if name == "Revision" || name == "Fresh" || isEmpty(a.Field(i)) && isEmpty(b.Field(i)) {
			continue
		}
		// JSON of Go's own types is the same exactly when the values are.
		x, errX := json.Marshal(a.Field(i).Interface())
		y, errY := json.Marshal(b.Field(i).Interface())
		if errX != nil || errY != nil || !bytes.Equal(x, y) {
			return fmt.Errorf("record %s: %s is %s, want %s", want.ID, name, clip(x), clip(y))
		}
	}
	return nil
}

func isEmpty(v reflect.Value) bool {
	return (v.Kind() == reflect.Map || v.Kind() == reflect.Slice) && v.Len() == 0
}

func clip(b []byte) []byte {
	if len(b) > 300 {
		return append(b[:300:300], "…"...)
	}
	return b
}
