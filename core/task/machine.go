package task

import "time"

// The errors of tasks that ended without a report from a worker. Django imports the
// class path, which must name a BaseException.
var (
	errCancelled    = TaskError{"asyncio.exceptions.CancelledError", "cancelled: the task was cancelled"}
	errExpired      = TaskError{"builtins.TimeoutError", "expired: the task did not start before its expires_at"}
	errLapsed       = TaskError{"builtins.TimeoutError", "lapsed: the lease of the attempt ran out and its worker did not report"}
	errDeadLettered = TaskError{"builtins.RuntimeError", "dead-lettered: the broker delivered the message as often as it may, and gave up"}
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

// applyTime applies what only time decides: a task that has not started before its
// expiry becomes EXPIRED, and a task that was to be cancelled and whose lease has
// lapsed becomes CANCELLED. It reports whether the record changed.
func (r *Record) applyTime(now time.Time, life time.Duration) bool {
	switch {
	case r.fromLaterVersion():
		return false
	case r.Status == Ready && r.Attempts() == 0 && !r.ExpiresAt.IsZero() && !now.Before(r.ExpiresAt.Time):
		r.Errors = append(r.Errors, errExpired)
		r.end(endExpired, now, life)
	case r.Status == Running && r.CancelRequested && !r.leased(now):
		r.endAttempt(endLapsed, now, &errLapsed)
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

// startAttempt notes the next attempt.
func (r *Record) startAttempt(workerID string, now time.Time) {
	r.WorkerIDs = append(r.WorkerIDs, workerID)
	r.LastAttemptedAt = At(now)
	if r.StartedAt.IsZero() {
		r.StartedAt = r.LastAttemptedAt
	}
	r.AttemptLog = append(r.AttemptLog, Attempt{Attempt: r.Attempts(), WorkerID: workerID, StartedAt: r.LastAttemptedAt})
	r.AttemptLog = r.AttemptLog[max(0, len(r.AttemptLog)-maxAttemptLog):]
}

// endAttempt notes how the running attempt ended; failure is nil where it did not fail.
func (r *Record) endAttempt(how string, now time.Time, failure *TaskError) {
	ended := At(now)
	if how == endLapsed {
		ended = r.LeaseUntil
	}
	if n := len(r.AttemptLog); n > 0 { // a record of an older version may have none
		r.AttemptLog[n-1].EndedAt, r.AttemptLog[n-1].Outcome = ended, how
	}
	r.AttemptEnds = append(r.AttemptEnds, how)
	r.LeaseUntil = Time{}
	if failure != nil {
		r.Errors = append(r.Errors, *failure)
	}
}

// noRoom replaces a traceback that the store cannot hold.
const noRoom = "taskgate: the record has no room for this traceback"

// shortenTracebacks replaces the longest traceback, and all that are more than half
// as long, by noRoom. It reports whether there was one to replace.
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

// apply is the state machine. It applies one event to the record, and reports
// whether the record must be written and whether the worker should acknowledge its
// message. The contract fixes the order of the checks. The record may change even
// if the event is refused, because applyTime may change it.
func (r *Record) apply(e Event, now time.Time, life time.Duration) (write, acknowledge bool, err error) {
	settled := r.applyTime(now, life)
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
		return r.returnMessage(e, now)
	}
	if r.Status != Running || e.Attempt != r.Attempts() {
		return false, false, Errorf(StaleAttempt, "attempt %d is not the running one", e.Attempt)
	}
	switch e.Type {
	case EventHeartbeat, EventProgress:
		r.LeaseUntil = latest(r.LeaseUntil, At(now.Add(e.lease())))
		if e.Progress != nil {
			r.Progress = e.Progress
		}
		return true, false, nil
	case EventSucceeded:
		r.ReturnValue = e.returnValue()
		r.endAttempt(endSucceeded, now, nil)
		r.end(endSucceeded, now, life)
		return true, true, nil
	case EventFailed:
		return true, r.fail(e, now, life), nil
	case EventCancelled:
		if !r.CancelRequested {
			return false, false, Errorf(CancelNotRequested, "nobody has asked to cancel this task")
		}
		r.endAttempt(endCancelled, now, nil)
		r.cancel(now, life)
		return true, true, nil
	}
	return false, false, Errorf(InvalidEvent, "unknown event type %q", e.Type)
}

// alreadyTook reports whether this event is a repetition of one that already took
// effect, and whether the worker should acknowledge the message. A worker repeats
// an event when it did not get the answer.
func (r *Record) alreadyTook(e Event, now time.Time) (done, acknowledge bool) {
	switch e.Type {
	case EventStarted:
		return r.leased(now) && e.DeliveryID == r.DeliveryID, false
	case EventDeadLettered:
		return r.Ended == endDeadLettered, true
	case EventReleased:
		return e.DeliveryID == r.ReleasedID, false
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

// start starts the next attempt, unless another attempt holds the lease.
func (r *Record) start(e Event, now time.Time, life time.Duration) (write, acknowledge bool, err error) {
	if r.leased(now) {
		return false, false, &Error{
			Kind: LeaseHeld, Msg: "another attempt holds the lease", RetryAfter: r.LeaseUntil.Sub(now)}
	}
	if r.Status == Running {
		r.endAttempt(endLapsed, now, &errLapsed)
		if r.attemptsUsedUp() {
			r.end(endLapsed, now, life)
			return true, true, r.finishedError()
		}
	}
	r.Status = Running
	r.startAttempt(e.WorkerID, now)
	r.DeliveryID = e.DeliveryID
	r.LeaseUntil = At(now.Add(e.lease()))
	r.Progress = nil
	return true, false, nil
}

// fail ends the running attempt, and also the task if no attempt may follow. It
// reports whether the worker should acknowledge its message.
func (r *Record) fail(e Event, now time.Time, life time.Duration) (acknowledge bool) {
	r.endAttempt(endFailed, now, e.Error)
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

// deadLetter ends a task whose message the broker has moved to a dead-letter queue.
func (r *Record) deadLetter(e Event, now time.Time, life time.Duration) (write, acknowledge bool, err error) {
	if r.leased(now) {
		return false, false, &Error{
			Kind: LeaseHeld, Msg: "an attempt holds the lease", RetryAfter: r.LeaseUntil.Sub(now)}
	}
	if r.Status == Running {
		r.endAttempt(endLapsed, now, &errLapsed)
	}
	reason := &errDeadLettered
	if e.Error != nil {
		reason = e.Error
	}
	r.Errors = append(r.Errors, *reason)
	r.end(endDeadLettered, now, life)
	return true, true, nil
}

// returnMessage gives the message back without an attempt. The write moves the
// message. It fails if an attempt has started since the record was read.
func (r *Record) returnMessage(e Event, now time.Time) (write, acknowledge bool, err error) {
	if r.leased(now) {
		return false, false, &Error{Kind: LeaseHeld, Msg: "an attempt holds the lease", RetryAfter: r.LeaseUntil.Sub(now)}
	}
	r.ReleasedID = e.DeliveryID
	return true, false, nil
}

// finishedError is the error for an event on a task that has already finished.
func (r *Record) finishedError() *Error {
	switch r.Ended {
	case endCancelled:
		return Errorf(Cancelled, "the task was cancelled")
	case endExpired:
		return Errorf(Expired, "the task expired before it started")
	}
	return Errorf(Finished, "the task has finished: %s", r.Status)
}

// returnValue returns the reported result; null if the worker sent none.
func (e Event) returnValue() string {
	if e.ReturnValue == nil {
		return "null"
	}
	return string(e.ReturnValue)
}
