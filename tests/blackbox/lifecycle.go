package blackbox

import (
	"net/http"
	"strings"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/apitest"
)

func goesThrough(c *client) {
	r := c.want(http.StatusAccepted, "POST", "/v1/tasks", c.request(`,"args":[1,2]`))
	doc := r.document(c)
	if !strings.HasSuffix(r.Header.Get("Location"), "/v1/tasks/"+doc.ID) {
		c.Errorf("Location %q", r.Header.Get("Location"))
	}
	if doc.Status != task.Ready || doc.State != task.StateQueued || doc.IsFinished || doc.Attempts != 0 || doc.ReturnValue != nil {
		c.Errorf("a fresh task is %s", r.body)
	}
	if c.get("/v1/tasks/"+doc.ID).Header.Get("Retry-After") == "" {
		c.Error("an unfinished task without Retry-After")
	}
	w := c.receive(doc.ID)
	a := w.reports(started, "d1")
	if a.Acknowledge || a.Attempt != 1 || !a.LeaseUntil.After(a.Task.LastAttemptedAt.Time) || a.Task.State != task.StateRunning {
		c.Errorf("started: %+v", a)
	}
	w.reports(heartbeat, 1)
	w.reports(progress, 1)
	if p := c.wantState(doc.ID, task.StateRunning).Progress; p == nil || p.Fraction != 0.5 || p.Message != "half" {
		c.Errorf("progress: %+v", p)
	}
	if a := w.reports(succeeded, 1, "3"); !a.Acknowledge {
		c.Errorf("succeeded: %+v", a)
	}
	done := c.get("/v1/tasks/" + doc.ID + "?wait=20").document(c)
	if done.Status != task.Successful || string(done.ReturnValue) != "3" || done.Attempts != 1 ||
		len(done.WorkerIDs) != 1 || done.WorkerIDs[0] != "blackbox" || done.StartedAt.IsZero() || done.FinishedAt.IsZero() {
		c.Errorf("finished: %+v", done)
	}
}

func keepsBytes(c *client) {
	const args = `[12345678901234567890,1.10,-0,1E+30,"\u00e9\/ \ud83d\ude00 <&>",{"b":1,"a":[null]}]`
	const kwargs = `{"z":0.1000,"a":"` + "\u2028é😀" + `"}`
	doc := c.enqueue(`,"args": `+strings.ReplaceAll(args, ",", " ,\n "), `,"kwargs":`+kwargs)
	w := c.receive(doc.ID)
	if string(w.message.Args) != args || string(w.message.Kwargs) != kwargs {
		c.Errorf("the message has %s %s", w.message.Args, w.message.Kwargs)
	}
	w.reports(started, "d")
	const value = `{"n":12345678901234567890,"s":"\u00e9"}`
	w.reports(succeeded, 1, value)
	got := c.task(doc.ID)
	if string(got.Args) != args || string(got.Kwargs) != kwargs || string(got.ReturnValue) != value {
		c.Errorf("the document has %s %s %s", got.Args, got.Kwargs, got.ReturnValue)
	}
}

func fails(c *client) {
	doc := c.enqueue()
	w := c.receive(doc.ID)
	w.reports(started, "d")
	if a := w.reports(failed, 1); !a.Acknowledge {
		c.Errorf("failed: %+v", a)
	}
	got := c.wantState(doc.ID, task.StateFailed)
	if got.Status != task.Failed || len(got.Errors) != 1 || got.Errors[0].Traceback != "boom" || got.ReturnValue != nil {
		c.Errorf("%+v", got)
	}
	w.isRefused(http.StatusGone, task.Finished, true, started, "d2")
}

func retries(c *client) {
	if most := c.caps.MaxDeliveries; most != nil && *most < 2 {
		c.Skip("the target delivers a message once")
	}
	doc := c.enqueue(`,"max_attempts":2`)
	w := c.receive(doc.ID)
	w.reports(started, "d1")
	if a := w.reports(retryable, 1); a.Acknowledge || a.Task.State != task.StateRetrying {
		c.Errorf("the first failure: %+v", a)
	}
	if a := w.reports(started, "d2"); a.Attempt != 2 {
		c.Errorf("started again: %+v", a)
	}
	if a := w.reports(retryable, 2); !a.Acknowledge || a.Task.State != task.StateFailed || len(a.Task.Errors) != 2 {
		c.Errorf("the last failure: %+v", a)
	}
}

func stalls(c *client) {
	doc := c.enqueue()
	w := c.receive(doc.ID)
	w.reports(`{"type":"started","worker_id":"w","delivery_id":"d1","lease_seconds":5}`)
	w.isRefused(http.StatusConflict, task.LeaseHeld, false, started, "d2")
	c.until("the lease to lapse", func() bool { return c.task(doc.ID).State == task.StateStalled })
	if a := w.reports(started, "d2"); a.Attempt != 2 {
		c.Errorf("taking over: %+v", a)
	}
	w.isRefused(http.StatusConflict, task.StaleAttempt, false, succeeded, 1, "1")
	w.reports(succeeded, 2, "2")
	if got := c.task(doc.ID); string(got.ReturnValue) != "2" || got.Attempts != 2 {
		c.Errorf("%+v", got)
	}
}

func repeats(c *client) {
	w := c.receive(c.enqueue().ID)
	for range 3 {
		if a := w.reports(started, "d"); a.Attempt != 1 {
			c.Errorf("started: %+v", a)
		}
	}
	for range 3 {
		if a := w.reports(retryable, 1); a.Acknowledge || len(a.Task.Errors) != 1 {
			c.Errorf("failed: %+v", a)
		}
	}
	w.reports(started, "e")
	w.reports(retryable, 1)
	for range 3 {
		if a := w.reports(succeeded, 2, `{"a":1}`); !a.Acknowledge {
			c.Errorf("succeeded: %+v", a)
		}
	}
	w.isRefused(http.StatusGone, task.Finished, true, succeeded, 2, `{"a":2}`)
}

func fenced(c *client) {
	w := c.receive(c.enqueue().ID)
	for _, event := range []string{heartbeat, progress, retryable, failed, cancelled} {
		w.isRefused(http.StatusConflict, task.StaleAttempt, false, event, 1)
	}
	w.reports(started, "d")
	for _, event := range []string{heartbeat, progress, retryable, failed, cancelled} {
		w.isRefused(http.StatusConflict, task.StaleAttempt, false, event, 2)
	}
	w.isRefused(http.StatusConflict, task.CancelNotRequested, false, cancelled, 1)
}

func deadLettered(c *client) {
	doc := c.enqueue()
	w := c.receive(doc.ID)
	w.reports(started, "d")
	w.isRefused(http.StatusConflict, task.LeaseHeld, false, dead)
	w.reports(retryable, 1)
	for range 2 {
		if a := w.reports(dead); !a.Acknowledge {
			c.Errorf("%+v", a)
		}
	}
	c.wantState(doc.ID, task.StateFailed)
}

// outcome is the answer to a cancel.
type outcome struct {
	Outcome string        `json:"outcome"`
	Task    task.Document `json:"task"`
}

func (c *client) cancel(id string) (o outcome) {
	c.Helper()
	c.want(http.StatusOK, "POST", "/v1/tasks/"+id+"/cancel", "").into(c, &o)
	return o
}

func cancelsQueued(c *client) {
	doc := c.enqueue()
	w := c.receive(doc.ID) // as if it had slipped through
	for range 2 {
		if o := c.cancel(doc.ID); o.Outcome != "prevented" || o.Task.State != task.StateCancelled || o.Task.Status != task.Failed {
			c.Errorf("%+v", o)
		}
	}
	w.isRefused(http.StatusGone, task.Cancelled, true, started, "d")
	if got := c.task(doc.ID); got.Attempts != 0 || len(got.Errors) != 1 {
		c.Errorf("%+v", got)
	}
	c.want(http.StatusOK, "POST", "/v1/tasks/"+doc.ID+"/cancel", "{}")
	c.refused(http.StatusUnprocessableEntity, task.InvalidTask, "POST", "/v1/tasks/"+doc.ID+"/cancel", `{"force":true}`)
}

func cancelsRunning(c *client) {
	doc := c.enqueue()
	w := c.receive(doc.ID)
	w.reports(started, "d")
	if o := c.cancel(doc.ID); o.Outcome != "requested" || !o.Task.CancelRequested || o.Task.State != task.StateRunning {
		c.Errorf("%+v", o)
	}
	if a := w.reports(heartbeat, 1); !a.CancelRequested {
		c.Errorf("the worker is not told: %+v", a)
	}
	if a := w.reports(cancelled, 1); !a.Acknowledge || a.Task.State != task.StateCancelled {
		c.Errorf("%+v", a)
	}

	first := c.enqueue()
	w = c.receive(first.ID)
	w.reports(started, "d")
	c.cancel(first.ID)
	w.reports(succeeded, 1, "1") // which comes first, wins
	c.wantState(first.ID, task.StateSucceeded)
	c.refused(http.StatusGone, task.Finished, "POST", "/v1/tasks/"+first.ID+"/cancel", "")
}

func expires(c *client) {
	at := time.Now().Add(1500 * time.Millisecond).UTC().Format(time.RFC3339Nano)
	doc := c.enqueue(`,"expires_at":"` + at + `"`)
	w := c.receive(doc.ID)
	c.until("the task to expire", func() bool { return c.task(doc.ID).State == task.StateExpired })
	w.isRefused(http.StatusGone, task.Expired, true, started, "d")
	if got := c.task(doc.ID); got.Status != task.Failed || len(got.Errors) != 1 || got.FinishedAt.IsZero() {
		c.Errorf("%+v", got)
	}
	c.refused(http.StatusGone, task.Finished, "POST", "/v1/tasks/"+doc.ID+"/cancel", "")
}

func delays(c *client) {
	if !c.caps.SupportsDefer {
		c.refused(http.StatusUnprocessableEntity, task.RunAfterUnsupported, "POST", "/v1/tasks", c.request(`,"delay_seconds":2`))
		return
	}
	doc := c.enqueue(`,"delay_seconds":2.5`)
	if doc.State != task.StateScheduled || doc.RunAfter.Sub(doc.EnqueuedAt.Time) != 2500*time.Millisecond {
		c.Errorf("%s, run_after %s, enqueued_at %s", doc.State, doc.RunAfter, doc.EnqueuedAt)
	}
	c.receive(doc.ID)
	if now := time.Now(); now.Before(doc.RunAfter.Time) {
		c.Errorf("delivered %v before it was due", doc.RunAfter.Sub(now))
	}
	if most := c.caps.MaxDelaySeconds; most != nil {
		at := time.Now().Add(time.Duration(*most)*time.Second + time.Minute).UTC().Format(time.RFC3339)
		c.refused(http.StatusUnprocessableEntity, task.RunAfterUnsupported, "POST", "/v1/tasks", c.request(`,"run_after":"`+at+`"`))
	}
}

func carries(c *client) {
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	body := c.request(`,"metadata":{"k":"v"},"takes_context":true,"expires_at":"2100-01-01T00:00:00Z"`)
	doc := c.want(http.StatusAccepted, "POST", "/v1/tasks", body, "Traceparent", trace, "Tracestate", "a=1").document(c)
	m := c.receive(doc.ID).message
	if m.Traceparent != trace || m.Tracestate != "a=1" || m.Metadata["k"] != "v" || !m.TakesContext ||
		m.ExpiresAt != doc.ExpiresAt || m.EnqueuedAt != doc.EnqueuedAt || m.V != task.MessageVersion {
		c.Errorf("%+v", m)
	}
	if doc.Metadata["k"] != "v" || !doc.TakesContext {
		c.Errorf("%+v", doc)
	}
}

func large(c *client) {
	size := min(c.caps.MaxPayloadBytes, 900<<10) - 100
	text := strings.Repeat("x", size)
	doc := c.enqueue(`,"args":["` + text + `"]`)
	w := c.receive(doc.ID)
	a := w.reports(started, "d")
	args := w.message.Args
	if w.message.Offloaded {
		args = a.Args
	}
	if string(args) != `["`+text+`"]` {
		c.Errorf("%d bytes arrived, offloaded %v", len(args), w.message.Offloaded)
	}
	if most := c.caps.MaxPayloadBytes; most < 1<<20-1000 {
		body := c.request(`,"args":["` + strings.Repeat("x", most) + `"]`)
		c.refused(http.StatusRequestEntityTooLarge, task.PayloadTooLarge, "POST", "/v1/tasks", body)
	}
	// A result larger than any store holds is refused, and the task runs on.
	huge := `{"type":"succeeded","attempt":1,"return_value":"` + strings.Repeat("x", 1<<20) + `"}`
	r := w.send(apitest.Bad(w.Context()), "POST", w.path, huge, w.headers()...)
	if r.StatusCode != http.StatusRequestEntityTooLarge {
		c.Errorf("a result of 1 MiB: %d %.200s", r.StatusCode, r.body)
	}
	c.wantState(doc.ID, task.StateRunning)
	w.reports(succeeded, 1, "1")
}
