package histories

import (
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"
)

// The operations on one task. An enqueue that a target's answer completes is two
// steps in the model: enqueue makes the record, and accept is where the target
// has the message.
const (
	enqueue = "enqueue"
	accept  = "accept"
	get     = "get"
	cancel  = "cancel"

	started      = "started"
	heartbeat    = "heartbeat"
	progress     = "progress"
	succeeded    = "succeeded"
	failed       = "failed"
	cancelled    = "cancelled"
	deadLettered = "dead_lettered"
)

// How an attempt or the task ended, beside the events that end them.
const lapsed = "lapsed"

// mostAttempts is more than the operations of a history can start.
const mostAttempts = 32

// call is one operation as a client asks for it.
type call struct {
	n    int32 // the operation's own number
	kind string
	id   string // the task's

	request  int8 // which of the history's two requests an enqueue makes
	limit    int8 // its max_attempts; 0 = none
	keyed    bool
	atomic   bool  // the record and its message are one commit
	delivery int32 // of started; names the worker too
	attempt  int8
	lease    time.Duration
	value    int32 // of succeeded and progress
	retry    bool  // of failed

	// The time in which the operation may have taken effect. Without an answer it
	// ends with the history.
	from, to time.Duration
}

// answer is what the client received.
type answer struct {
	lost        bool // nothing, or that the outcome is unknown
	status      int
	code        string // of a problem
	replayed    bool
	outcome     string // of cancel
	acknowledge *bool  // of events
	attempt     int
	asked       bool          // an event's cancel_requested
	lease       time.Duration // an event's lease_until, since the run's start; 0 = null
	doc         *document
}

// state is the model's state of one task after the operations so far. It is
// comparable. Steps return changed copies.
type state struct {
	exists   bool
	request  int8
	limit    int8
	accepted bool  // the target is known to have the message
	owner    int32 // the enqueue that may dispatch it
	orphan   bool  // the owner's outcome is unknown, so that another may take over

	attempts     int8 // started so far
	running      bool
	ended        [mostAttempts]byte // how each attempt ended: the word's first letter
	delivery     int32              // of the latest attempt
	lapse, alive time.Duration      // while running, the lease ends after lapse and until alive
	asked        bool               // to cancel
	progress     int32
	errors       int8
	value        int32
	end          string // "" = not finished
}

// model is the specification in porcupine's form. It is nondeterministic, because
// a lease may or may not have lapsed.
var model = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{state{}} },
	Step: func(s, in, out any) (next []any) {
		for _, after := range s.(state).step(in.(call), out.(answer)) {
			next = append(next, after)
		}
		return next
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%v → %v", in.(call), out.(answer)) },
	DescribeState:     func(s any) string { return s.(state).String() },
}).ToModel()

// step returns the states that the task may have after the operation. None means
// that the operation cannot have this answer in this state.
func (s state) step(in call, out answer) []state {
	if out.doc != nil && out.doc.ID != in.id {
		return nil // one key is one task
	}
	switch in.kind {
	case enqueue:
		return s.enqueue(in, out)
	case accept:
		return s.accept(in, out)
	}
	var next []state
	for _, late := range []bool{false, true} {
		if !s.mayBe(late, in) {
			continue
		}
		after := s
		want := after.operate(in, late)
		if out.lost || want.is(out) && after.shown(in, out) {
			next = append(next, after)
		}
	}
	return next
}

// begun reports whether a worker has received the message, or none will any more.
func (s state) begun() bool { return s.attempts > 0 || s.end != "" }

// enqueue is one request, with or without a key. Of all requests with one key, one
// makes the record. The others see the record.
func (s state) enqueue(in call, out answer) []state {
	same := s.exists && s.request == in.request
	open := same && !s.accepted && !s.begun() // nobody knows of the message yet
	switch {
	case out.lost || out.status == 202 && !out.replayed:
		if !s.exists {
			s.exists, s.request, s.limit, s.orphan, s.owner = true, in.request, in.limit, out.lost, in.n
			s.accepted = in.atomic || !in.keyed
		} else if !out.lost {
			if !open || !s.orphan {
				return nil // there was a task, and somebody who answers for it
			}
			s.orphan, s.owner = false, in.n
		}
		if out.lost || in.keyed && !in.atomic || s.shows(in, out.doc) {
			return []state{s}
		}
	case out.status == 202:
		if same && (s.accepted || s.begun()) && s.shows(in, out.doc) {
			return []state{s}
		}
	case out.status == 409 && out.code == "in-flight":
		if open && !in.atomic {
			return []state{s}
		}
	case out.status == 422 && out.code == "idempotency-key-reused":
		if s.exists && !same {
			return []state{s}
		}
	}
	return nil
}

// patience is less than the time that a service gives its store to mark a dispatch.
const patience = 1500 * time.Millisecond

// accept is the second half of an enqueue that was answered 202, or may have been.
func (s state) accept(in call, out answer) (next []state) {
	if out.lost {
		s.accepted = s.accepted || s.exists && s.orphan && s.request == in.request
		return []state{s}
	}
	if !s.exists || s.owner != in.n {
		return nil
	}
	marked, unmarked := s, s
	marked.accepted, unmarked.orphan = true, true
	if s.shows(in, out.doc) {
		next = append(next, marked)
	}
	if made := (state{exists: true, request: s.request}); in.to-in.from > patience && made.shows(in, out.doc) {
		// The store may have been too slow to mark that the target accepted the
		// message. The request does not fail because of that: the document is as it
		// was made. A repeated request may have to wait, or sends the message again.
		next = append(next, marked, unmarked)
	}
	return next
}

// mayBe reports whether the running attempt's lease may have been over (late), or
// not, while the operation took effect.
func (s state) mayBe(late bool, in call) bool {
	const slack = 100 * time.Millisecond // the server reads another clock
	if !s.running {
		return !late
	}
	if late {
		return in.to >= s.lapse-slack
	}
	return in.from <= s.alive+slack
}

// verdict is how an operation must be answered.
type verdict struct {
	status  int
	code    string
	ack     bool
	outcome string
}

func (v verdict) is(out answer) bool {
	return v.status == out.status && v.code == out.code && v.outcome == out.outcome &&
		(out.acknowledge == nil || *out.acknowledge == v.ack)
}
