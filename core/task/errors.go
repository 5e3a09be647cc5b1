package task

import (
	"errors"
	"fmt"
	"time"

	"github.com/taskgate/taskgate/core/strictjson"
)

// A Kind says what went wrong; its text is the problem's code on the wire.
// Package httpapi adds kinds of its own, for what only HTTP can get wrong.
type Kind string

// The kinds. Those up to Internal reach clients; NotStored, Conflict and
// Oversize are what a [Store] says to the [Service].
const (
	InvalidCursor        Kind = "invalid-cursor"
	Unauthenticated      Kind = "unauthenticated"
	UnknownTask          Kind = "unknown-task"
	InFlight             Kind = "in-flight"
	LeaseHeld            Kind = "lease-held"
	StaleAttempt         Kind = "stale-attempt"
	CancelNotRequested   Kind = "cancel-not-requested"
	Finished             Kind = "finished"
	Cancelled            Kind = "cancelled"
	Expired              Kind = "expired"
	PayloadTooLarge      Kind = "payload-too-large"
	MessageTooLarge      Kind = "message-too-large"
	ResultTooLarge       Kind = "result-too-large"
	InvalidTask          Kind = "invalid-task"
	InvalidEvent         Kind = "invalid-event"
	InvalidReceive       Kind = "invalid-receive"
	UnknownBackend       Kind = "unknown-backend"
	UnknownQueue         Kind = "unknown-queue"
	PriorityUnsupported  Kind = "priority-unsupported"
	RunAfterUnsupported  Kind = "run-after-unsupported"
	GroupUnsupported     Kind = "group-unsupported"
	ReceiveUnsupported   Kind = "receive-unsupported"
	MaxAttemptsTooHigh   Kind = "max-attempts-too-high"
	IdempotencyKeyReused Kind = "idempotency-key-reused"
	IDTaken              Kind = "id-taken"
	MessageRejected      Kind = "message-rejected"
	Unavailable          Kind = "unavailable"
	Internal             Kind = "internal"
	NotStored            Kind = "not-stored"
	Conflict             Kind = "conflict"
	Oversize             Kind = "oversize"
)

// Final reports whether a dispatcher's error of this kind means that the target can
// never accept the message, however often it is sent.
func (k Kind) Final() bool { return k == MessageTooLarge || k == MessageRejected }

// Acknowledge reports whether a worker should acknowledge its message when the answer
// to its event is an error of this kind: the task is over.
func (k Kind) Acknowledge() bool { return k == Finished || k == Cancelled || k == Expired }

// Error is the only error type of the domain. The client sees Msg; the cause, Err,
// is only logged.
type Error struct {
	Kind       Kind
	Msg        string
	Err        error
	RetryAfter time.Duration           // when it is worth trying again; 0 = unknown
	Fields     []strictjson.FieldError // every rule that the input breaks
	TaskID     string                  // the record that the error is about, if there is one
}

func (e *Error) Error() string {
	s := string(e.Kind)
	if e.Msg != "" {
		s += ": " + e.Msg
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error of the kind with a public message. It does not wrap with
// %w; set Err for a cause.
func Errorf(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Msg: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of the Error in err's chain, Internal for any other
// error, and "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// asError returns a copy of the Error in err's chain. For any other error the outcome
// is unknown, so the kind is Unavailable.
func asError(err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		return &Error{Kind: Unavailable, Msg: "the outcome is unknown", Err: err}
	}
	found := *e
	return &found
}
