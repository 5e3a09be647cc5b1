package task

import "time"

// What Django is told of a task that ended without a worker's word. Django
// imports the path and requires a BaseException.
var (
	errCancelled    = TaskError{"asyncio.exceptions.CancelledError", "cancelled: the task was cancelled"}
	errExpired      = TaskError{"builtins.TimeoutError", "expired: the task did not start before its expires_at"}
	errLapsed       = TaskError{"builtins.TimeoutError", "lapsed: the attempt's lease ran out and its worker did not report"}
	errDeadLettered = TaskError{"builtins.RuntimeError", "dead-lettered: the broker gave the message up"}
	errRefused      = TaskError{"builtins.ValueError", "refused: the target can never accept the message: "}
)

// end makes the record terminal.
func (r *Record) end(how string, now time.Time, life time.Duration) {
	r.Status = Failed
	if how == endSucceeded {
		r.Status = Successful
	}
	r.Ended = how
	r.FinishedAt = At(now)
	r.LeaseUntil = Time{}
	r.DeleteAfter = r.FinishedAt.Plus(life)
}

// settle writes what time alone has decided: a task that did not start before
// its expiry is EXPIRED, and one whose worker was asked to cancel and let its
// lease lapse is CANCELLED. It reports whether the record changed.
func (r *Record) settle(now time.Time, life time.Duration) bool {
	switch {
	case r.later():
		return false
	case r.Status == Ready && r.Attempts() == 0 && !r.ExpiresAt.IsZero() && !now.Before(r.ExpiresAt.Time):
		r.Errors = append(r.Errors, errExpired)
		r.end(endExpired, now, life)
	case r.Status == Running && r.CancelRequested && !r.leased(now):
		r.endAttempt(endLapsed, &errLapsed)
		r.cancel(now, life)
	default:
		return false
	}
	return true
}

func (r *Record) cancel(now time.Time, life time.Duration) {
	r.Errors = append(r.Errors, errCancelled)
	r.end(endCancelled, now, life)
}

// endAttempt notes how the running attempt ended; failure is nil where it did not fail.
func (r *Record) endAttempt(how string, failure *TaskError) {
	r.AttemptEnds = append(r.AttemptEnds, how)
	r.LeaseUntil = Time{}
	if failure != nil {
		r.Errors = append(r.Errors, *failure)
	}
}

// noRoom is put in place of a traceback that the store cannot hold.
const noRoom = "taskgate: the record has no room for this traceback"

// shortenTracebacks puts noRoom in place of the longest traceback, and of those
// that are more than half as long. It reports whether there was one to shorten.
func (r *Record) shortenTracebacks() bool {
	longest := 0
	for _, e := range r.Errors {
		longest = max(longest, len(e.Traceback))
	}
	if longest <= len(noRoom) {
		return false
	}
	for i, e := range r.Errors {
		if len(e.Traceback) > max(longest/2, len(noRoom)) {
			r.Errors[i].Traceback = noRoom
		}
	}
	return true
}

// attemptsUsedUp reports whether no further attempt may start.
func (r *Record) attemptsUsedUp() bool {
	return r.MaxAttempts > 0 && r.Attempts() >= r.MaxAttempts
}

// apply is the state machine: it takes one event to the record and says whether
// to write the record and whether the worker should acknowledge its message.
// The order of the checks is the contract's. Even when the event is refused the
// record may have changed: time may have settled it.
func (r *Record) apply(e Event, now time.Time, life time.Duration) (write, acknowledge bool, err error) {
	settled := r.settle(now, life)
	if done, acknowledge := r.alreadyTook(e, now); done {
		return settled, acknowledge, nil
	}
	if r.Finished() {
		return settled, true, r.finishedError()
	}
	switch e.Type {
	case EventStarted:
		return r.start(e, now, life)
	case EventDeadLettered:
		return r.deadLetter(e, now, life)
	case EventReleased:
		return r.release(now)
	}
	if r.Status != Running || e.Attempt != r.Attempts() {
		return false, false, Errorf(StaleAttempt, "attempt %d is not the running one", e.Attempt)
	}
	switch e.Type {
	case EventHeartbeat, EventProgress:
		r.LeaseUntil = later(r.LeaseUntil, At(now.Add(e.lease())))
		if e.Progress != nil {
			r.Progress = e.Progress
		}
		return true, false, nil
	case EventSucceeded:
		r.ReturnValue = e.returnValue()
		r.endAttempt(endSucceeded, nil)
		r.end(endSucceeded, now, life)
		return true, true, nil
	case EventFailed:
		return true, r.fail(e, now, life), nil
	case EventCancelled:
		if !r.CancelRequested {
			return false, false, Errorf(CancelNotRequested, "nobody has asked to cancel this task")
		}
		r.endAttempt(endCancelled, nil)
		r.cancel(now, life)
		return true, true, nil
	}
	return false, false, Errorf(InvalidEvent, "unknown event type %q", e.Type)
}

// alreadyTook reports whether the event has taken effect before, so that its
// answer was lost, and how it is to be acknowledged now.
func (r *Record) alreadyTook(e Event, now time.Time) (done, acknowledge bool) {
	switch e.Type {
	case EventStarted:
		return r.leased(now) && e.DeliveryID == r.DeliveryID, false
	case EventDeadLettered:
		return r.Ended == endDeadLettered, true
	case EventSucceeded, EventFailed, EventCancelled:
		if e.Attempt > len(r.AttemptEnds) || r.AttemptEnds[e.Attempt-1] != e.Type {
			return false, false
		}
		if e.Type == EventSucceeded && e.returnValue() != r.ReturnValue {
			return false, false // another result: not the same event
		}
		return true, r.Finished()
	}
	return false, false
}

// start begins the next attempt, if none holds a lease.
func (r *Record) start(e Event, now time.Time, life time.Duration) (write, acknowledge bool, err error) {
	if r.leased(now) {
		return false, false, &Error{
			Kind: LeaseHeld, Msg: "another attempt holds the lease", RetryAfter: r.LeaseUntil.Sub(now)}
	}
	if r.Status == Running {
		r.endAttempt(endLapsed, &errLapsed)
		if r.attemptsUsedUp() {
			r.end(endLapsed, now, life)
			return true, true, r.finishedError()
		}
	}
	r.Status = Running
	r.WorkerIDs = append(r.WorkerIDs, e.WorkerID)
	r.DeliveryID = e.DeliveryID
	r.LastAttemptedAt = At(now)
	if r.StartedAt.IsZero() {
		r.StartedAt = r.LastAttemptedAt
	}
	r.LeaseUntil = At(now.Add(e.lease()))
	r.Progress = nil
	return true, false, nil
}

// fail ends the running attempt, and with it the task unless it may be tried
// again. It reports whether the message is done with.
func (r *Record) fail(e Event, now time.Time, life time.Duration) (acknowledge bool) {
	r.endAttempt(endFailed, e.Error)
	switch {
	case !e.Retryable || r.attemptsUsedUp():
		r.end(endFailed, now, life)
	case r.CancelRequested:
		r.cancel(now, life)
	default:
		r.Status = Ready
	}
	return r.Finished()
}

// deadLetter ends a task whose message the broker has given up.
func (r *Record) deadLetter(e Event, now time.Time, life time.Duration) (write, acknowledge bool, err error) {
	if r.leased(now) {
		return false, false, &Error{
			Kind: LeaseHeld, Msg: "an attempt holds the lease", RetryAfter: r.LeaseUntil.Sub(now)}
	}
	if r.Status == Running {
		r.endAttempt(endLapsed, &errLapsed)
	}
	reason := &errDeadLettered
	if e.Error != nil {
		reason = e.Error
	}
	r.Errors = append(r.Errors, *reason)
	r.end(endDeadLettered, now, life)
	return true, true, nil
}

// release gives the message back without an attempt. The record stays as it is,
// and is written all the same: the write is what moves the message, and fails
// where an attempt has started meanwhile.
func (r *Record) release(now time.Time) (write, acknowledge bool, err error) {
	if !r.leased(now) {
		return true, false, nil
	}
	return false, false, &Error{Kind: LeaseHeld, Msg: "an attempt holds the lease", RetryAfter: r.LeaseUntil.Sub(now)}
}

// finishedError is what a caller is told who comes too late.
func (r *Record) finishedError() *Error {
	switch r.Ended {
	case endCancelled:
		return Errorf(Cancelled, "the task was cancelled")
	case endExpired:
		return Errorf(Expired, "the task expired before it started")
	}
	return Errorf(Finished, "the task has finished: %s", r.Status)
}

// returnValue is the reported result; a worker that sends none returns null.
func (e Event) returnValue() string {
	if e.ReturnValue == nil {
		return "null"
	}
	return string(e.ReturnValue)
}
