package task

import (
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
)

// The types of events that a worker reports.
const (
	EventStarted      = "started"
	EventHeartbeat    = "heartbeat"
	EventProgress     = "progress"
	EventSucceeded    = "succeeded"
	EventFailed       = "failed"
	EventCancelled    = "cancelled"
	EventDeadLettered = "dead_lettered"
	EventReleased     = "released" // a fetched message goes back, and no attempt was started for it
)

// The lease that an attempt may ask for, in seconds.
const (
	DefaultLease = 45
	MinLease     = 5
	MaxLease     = 3600
)

// MaxTraceback is the maximum length of a stored traceback, in characters.
const MaxTraceback = 65536

// MaxAttempts is the greatest max_attempts of a task.
const MaxAttempts = 1000

// Event is one report of a worker on one task.
type Event struct {
	Type         string         `json:"type"`
	WorkerID     string         `json:"worker_id,omitzero"`
	DeliveryID   string         `json:"delivery_id,omitzero"` // random; one per delivery of the message
	Attempt      int            `json:"attempt,omitzero"`     // from 1
	LeaseSeconds int            `json:"lease_seconds,omitzero"`
	Progress     *Progress      `json:"progress,omitempty"`
	ReturnValue  jsontext.Value `json:"return_value,omitzero"` // any JSON, of succeeded
	Error        *TaskError     `json:"error,omitempty"`
	Retryable    bool           `json:"retryable,omitzero"` // of failed
}

// Answer is the answer to an event that took effect.
type Answer struct {
	// Acknowledge says what the worker does with its message: true = acknowledge it,
	// false = let the broker deliver it again.
	Acknowledge     bool           `json:"acknowledge"`
	Attempt         int            `json:"attempt"`
	LeaseUntil      Time           `json:"lease_until"` // null = no lease is held
	CancelRequested bool           `json:"cancel_requested"`
	Task            Document       `json:"task"`
	Args            jsontext.Value `json:"args,omitzero"`   // on started, when offloaded
	Kwargs          jsontext.Value `json:"kwargs,omitzero"` // on started, when offloaded
}

// lease returns the lease that the event asks for.
func (e Event) lease() time.Duration {
	if e.LeaseSeconds == 0 {
		return DefaultLease * time.Second
	}
	return time.Duration(e.LeaseSeconds) * time.Second
}

// ParseEvent decodes an event from checked JSON. Its error is an InvalidEvent that
// lists every rule that the event breaks.
func ParseEvent(v jsontext.Value) (Event, error) {
	var e Event
	errs := strictjson.Object(e.field, "type")("", v)
	if len(errs) == 0 {
		errs = e.check()
	}
	if len(errs) > 0 {
		return Event{}, &Error{Kind: InvalidEvent, Msg: "the event breaks the rules listed in errors", Fields: errs}
	}
	return e, nil
}

func (e *Event) field(name string) strictjson.Field {
	switch name {
	case "type":
		return strictjson.Name(&e.Type, 32)
	case "worker_id":
		return strictjson.Name(&e.WorkerID, 255)
	case "delivery_id":
		return strictjson.Name(&e.DeliveryID, 255)
	case "attempt":
		return strictjson.Int(&e.Attempt, 1, math.MaxInt32)
	case "lease_seconds":
		return strictjson.Int(&e.LeaseSeconds, MinLease, MaxLease)
	case "progress":
		e.Progress = &Progress{}
		return strictjson.Object(e.Progress.field, "fraction")
	case "return_value":
		return strictjson.Raw(&e.ReturnValue, 0)
	case "error":
		e.Error = &TaskError{}
		return e.Error.reported
	case "retryable":
		return strictjson.Bool(&e.Retryable)
	}
	return nil
}

func (p *Progress) field(name string) strictjson.Field {
	switch name {
	case "fraction":
		return strictjson.Number(&p.Fraction, 0, 1)
	case "message":
		return strictjson.Text(&p.Message, 1000)
	}
	return nil
}

// reported decodes the error of an attempt. A report of a failure must not be
// refused because of its form. reported shortens a traceback that is too long. It
// moves an invalid class path into the traceback.
func (t *TaskError) reported(at string, v jsontext.Value) []strictjson.FieldError {
	const unlimited = math.MaxInt
	errs := strictjson.Object(func(name string) strictjson.Field {
		switch name {
		case "exception_class_path":
			return strictjson.Text(&t.ExceptionClassPath, unlimited)
		case "traceback":
			return strictjson.Text(&t.Traceback, unlimited)
		}
		return nil
	}, "exception_class_path", "traceback")(at, v)
	if path := t.ExceptionClassPath; !strictjson.ValidName(path, maxName) {
		t.ExceptionClassPath = "builtins.Exception"
		t.Traceback = fmt.Sprintf("taskgate: the reported exception_class_path is not valid: %q\n", cut(path, 1000)) + t.Traceback
	}
	t.Traceback = cut(t.Traceback, MaxTraceback)
	return errs
}

// cut shortens a text to limit characters: it keeps the head and the tail, and
// puts a line between them that says how many characters are missing.
func cut(s string, limit int) string {
	n := utf8.RuneCountInString(s)
	if n <= limit {
		return s
	}
	const line = "\n[taskgate: %d characters are missing here]\n"
	const room = len(line) + 10 // the number may have that many digits more than %d
	keep := limit - room
	text := []rune(s)
	return string(text[:keep/2]) + fmt.Sprintf(line, n-keep) + string(text[n-(keep-keep/2):])
}

// check returns the rules of its type that the event breaks. Any event may have
// worker_id, delivery_id and attempt.
func (e *Event) check() (errs []strictjson.FieldError) {
	rule := func(broken bool, member, detail string) {
		if broken {
			errs = append(errs, strictjson.FieldError{Pointer: "/" + member, Detail: detail})
		}
	}
	started, failed := e.Type == EventStarted, e.Type == EventFailed
	switch e.Type {
	case EventStarted, EventHeartbeat, EventProgress, EventSucceeded, EventFailed, EventCancelled, EventDeadLettered, EventReleased:
	default:
		rule(true, "type", "must be started, heartbeat, progress, succeeded, failed, cancelled, dead_lettered or released")
		return errs
	}
	rule(started && e.WorkerID == "", "worker_id", "is required on started")
	rule((started || e.Type == EventReleased) && e.DeliveryID == "", "delivery_id", "is required on "+e.Type)
	ofAttempt := !started && e.Type != EventDeadLettered && e.Type != EventReleased
	rule(ofAttempt && e.Attempt == 0, "attempt", "is required on "+e.Type)
	rule(e.Type == EventProgress && e.Progress == nil, "progress", "is required on progress")
	rule(failed && e.Error == nil, "error", "is required on failed")

	leases := started || e.Type == EventHeartbeat || e.Type == EventProgress
	rule(!leases && e.LeaseSeconds != 0, "lease_seconds", "belongs to started, heartbeat and progress")
	rule(e.Type != EventProgress && e.Progress != nil, "progress", "belongs to progress")
	rule(e.Type != EventSucceeded && e.ReturnValue != nil, "return_value", "belongs to succeeded")
	rule(!failed && e.Type != EventDeadLettered && e.Error != nil, "error", "belongs to failed and dead_lettered")
	rule(!failed && e.Retryable, "retryable", "belongs to failed")
	return errs
}
