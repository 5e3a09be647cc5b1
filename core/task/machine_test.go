package task_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// states are ways to bring a fresh task into each state; n is the attempt that
// its events then speak of.
var states = []struct {
	name    string
	request string
	n       int
	bring   func(t *testing.T, r *rig, id string)
}{
	{"SCHEDULED", `,"delay_seconds":60`, 1, func(*testing.T, *rig, string) {}},
	{"QUEUED", ``, 1, func(*testing.T, *rig, string) {}},
	{"overdue", `,"expires_at":"2026-11-23T09:01:00Z"`, 1, func(_ *testing.T, r *rig, _ string) { r.advance(time.Minute) }},
	{"RUNNING", `,"max_attempts":2`, 1, bringRunning},
	{"cancelling", `,"max_attempts":2`, 1, bringCancelling},
	{"STALLED", `,"max_attempts":2`, 1, func(t *testing.T, r *rig, id string) { bringRunning(t, r, id); r.advance(time.Minute) }},
	{"last STALLED", `,"max_attempts":1`, 1, func(t *testing.T, r *rig, id string) { bringRunning(t, r, id); r.advance(time.Minute) }},
	{"lapsed cancelling", `,"max_attempts":2`, 1, func(t *testing.T, r *rig, id string) { bringCancelling(t, r, id); r.advance(time.Minute) }},
	{"RETRYING", `,"max_attempts":2`, 1, bringRetrying},
	{"last RUNNING", `,"max_attempts":2`, 2, bringSecond},
	{"older of RUNNING", `,"max_attempts":2`, 1, bringSecond},
	{"SUCCEEDED", ``, 1, func(t *testing.T, r *rig, id string) { bringRunning(t, r, id); r.must(t, id, succeeded(1, `"done"`)) }},
	{"FAILED", ``, 1, func(t *testing.T, r *rig, id string) { bringRunning(t, r, id); r.must(t, id, failed(1, false)) }},
	{"dead-lettered", ``, 1, func(t *testing.T, r *rig, id string) { r.must(t, id, task.Event{Type: task.EventDeadLettered}) }},
	{"CANCELLED", ``, 1, bringCancelled},
	{"worker CANCELLED", ``, 1, func(t *testing.T, r *rig, id string) {
		bringCancelling(t, r, id)
		r.must(t, id, task.Event{Type: task.EventCancelled, Attempt: 1})
	}},
	{"EXPIRED", `,"expires_at":"2026-11-23T09:01:00Z"`, 1, func(t *testing.T, r *rig, id string) { r.advance(time.Minute); r.get(t, id) }},
}

func bringRunning(t *testing.T, r *rig, id string) { r.must(t, id, started("first")) }

func bringCancelling(t *testing.T, r *rig, id string) {
	bringRunning(t, r, id)
	if prevented, _, err := r.Cancel(t.Context(), call, id); prevented || err != nil {
		t.Fatalf("Cancel of a running task: %v, %v", prevented, err)
	}
}

func bringRetrying(t *testing.T, r *rig, id string) {
	bringRunning(t, r, id)
	r.must(t, id, failed(1, true))
}

func bringSecond(t *testing.T, r *rig, id string) {
	bringRetrying(t, r, id)
	r.must(t, id, started("second"))
}

func bringCancelled(t *testing.T, r *rig, id string) {
	if prevented, _, err := r.Cancel(t.Context(), call, id); !prevented || err != nil {
		t.Fatalf("Cancel of a queued task: %v, %v", prevented, err)
	}
}

// events are what is then reported; the table's columns.
var events = []struct {
	name  string
	event func(n int) task.Event
}{
	{"started", func(int) task.Event { return started("new") }},
	{"started again", func(int) task.Event { return started("first") }},
	{"heartbeat", func(n int) task.Event { return task.Event{Type: task.EventHeartbeat, Attempt: n} }},
	{"progress", func(n int) task.Event {
		return task.Event{Type: task.EventProgress, Attempt: n, Progress: &task.Progress{Fraction: 0.5}}
	}},
	{"succeeded", func(n int) task.Event { return succeeded(n, `"done"`) }},
	{"another result", func(n int) task.Event { return succeeded(n, `"other"`) }},
	{"retryable", func(n int) task.Event { return failed(n, true) }},
	{"failed", func(n int) task.Event { return failed(n, false) }},
	{"cancelled", func(n int) task.Event { return task.Event{Type: task.EventCancelled, Attempt: n} }},
	{"dead_lettered", func(int) task.Event { return task.Event{Type: task.EventDeadLettered} }},
	{"released", func(int) task.Event { return task.Event{Type: task.EventReleased, DeliveryID: "unused"} }},
}

func TestEveryEventInEveryState(t *testing.T) {
	var got strings.Builder
	for _, state := range states {
		for _, event := range events {
			r := newRig(t)
			id := r.enqueue(t, `{"task_name":"t"`+state.request+`}`).ID
			state.bring(t, r, id)
			a, err := r.report(t.Context(), id, event.event(state.n))
			outcome, acknowledge := "200", a.Acknowledge
			if err != nil {
				outcome, acknowledge = string(task.KindOf(err)), task.KindOf(err).Acknowledge()
			}
			what := "redeliver"
			if acknowledge {
				what = "acknowledge"
			}
			doc := r.get(t, id)
			fmt.Fprintf(&got, "%-17s %-14s %-20s %-11s %-9s attempts=%d errors=%d\n",
				state.name, event.name, outcome, what, doc.State, doc.Attempts, len(doc.Errors))
		}
	}
	golden(t, "machine.txt", got.String())
}
