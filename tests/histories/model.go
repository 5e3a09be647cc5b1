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

	// From when to when it may have taken effect; an unanswered one until the
	// history's end, after which nobody looks.
	from, to time.Duration
}

// answer is what the client was told.
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

// state is the specification's: what one task is after the operations so far.
// It is comparable, and steps return changed copies.
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

// model is the specification as porcupine takes it: nondeterministic, since time
// may or may not have ended a lease.
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

// step returns the states that the task may be in after the operation; none = it
// cannot have been answered so here.
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

// begun: somebody has had the message, or nobody is to have it any more.
func (s state) begun() bool { return s.attempts > 0 || s.end != "" }

// enqueue is one request with a key, or without. Of all with one key one makes
// the record; the others see what has become of it.
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

// patience is less than what a service gives its store to note a dispatch.
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
		// The store may have been too slow to note that the target accepted the
		// message. That is no reason to fail: the document is as it was made, and
		// whoever repeats the request may have to wait, or sends it again.
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
