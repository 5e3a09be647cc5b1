package task

import (
	"cmp"
	"context"
	"log/slog"
	"time"
)

// Accepted is a task that is recorded, and whose message its target has accepted.
type Accepted struct {
	Task     Document
	Replayed bool // this is the answer to an earlier request with the same Idempotency-Key or id
}

// Enqueue records a task and dispatches its message. When it returns no error,
// the record is durable and the target has accepted the message. The kinds of
// error that HTTP shows as 4xx mean that nothing was sent. Unavailable means
// that the outcome is unknown, or that the task is refused for now: with an
// Idempotency-Key or an id the same request may be repeated, and continues where
// this one stopped.
func (s *Service) Enqueue(ctx context.Context, call Call, req Request) (Accepted, error) {
	return s.enqueue(ctx, call, req, alone{})
}

// enqueue is the way of one request: prepare, create or resume, dispatch, settle.
func (s *Service) enqueue(ctx context.Context, call Call, req Request, out outlet) (Accepted, error) {
	d, err := s.prepare(ctx, call, req)
	if err != nil {
		return s.answerInvalid(ctx, call, req, err)
	}
	existing, receipt, err := s.create(ctx, d, out)
	switch {
	case err != nil:
		return Accepted{}, err
	case existing != nil:
		replay, err := s.resume(ctx, d, existing)
		if replay != nil || err != nil {
			return replayOr(replay, err)
		}
	case receipt != nil: // record and message were one commit
		d.rec.Dispatch.MessageID = receipt.MessageID
		return s.accepted(d.rec), nil
	}
	sent, err := out.dispatch(ctx, d)
	return s.settle(ctx, d, sent, err)
}

// accepted is the answer to a request whose task this very request has enqueued.
func (s *Service) accepted(r *Record) Accepted { return Accepted{Task: r.Document(s.Now())} }

// replayOr returns the replay, or an empty Accepted if replay is nil, together with
// err.
func replayOr(replay *Accepted, err error) (Accepted, error) {
	if replay == nil {
		return Accepted{}, err
	}
	return *replay, err
}

// An outlet makes one request's calls to the store and to the target. The type
// alone makes the calls at once. The type member combines calls with the other
// requests of a batch.
type outlet interface {
	createAndDispatch(ctx context.Context, d AtomicDispatcher, e Entry) EntryResult
	dispatch(ctx context.Context, d *draft) (Receipt, error)
}

// alone is the outlet of a single request.
type alone struct{}

func (alone) createAndDispatch(ctx context.Context, d AtomicDispatcher, e Entry) EntryResult {
	return d.CreateAndDispatch(ctx, []Entry{e})[0]
}

func (alone) dispatch(ctx context.Context, d *draft) (Receipt, error) {
	return d.backend.Dispatcher.Dispatch(ctx, d.out)
}

// draft holds a valid request with its record and its message. resume replaces the
// message, and also the record when it continues an earlier one.
type draft struct {
	call    Call
	req     Request
	backend Backend
	rec     *Record
	out     Outgoing
}

// prepare checks a request against the limits of its backend and builds the record
// and the message. It may ask the target for its limits. It sends no message and
// writes no record.
func (s *Service) prepare(ctx context.Context, call Call, req Request) (*draft, error) {
	backend, queue, err := s.resolve(req.Backend, req.QueueName)
	if err != nil {
		return nil, err
	}
	now := At(s.Now()).Time // the precision of due: a delay at the limit must not grow by rounding
	due, physical := req.due(now), backend.queueFor(queue, req.Priority)
	limits := backend.Dispatcher.Limits(ctx, physical, max(0, due.Sub(now)))
	if err := check(req, backend, queue, limits, due, now); err != nil {
		return nil, err
	}
	if err := s.checkPayload(req); err != nil {
		return nil, err
	}
	rec, err := s.newRecord(call, req, now)
	if err != nil {
		return nil, err
	}
	rec.QueueName, rec.RunAfter = queue, due
	rec.Dispatch = Dispatch{Target: backend.Target, Route: limits.Route}
	if physical != queue {
		rec.Dispatch.Queue = physical
	}
	rec.DeleteAfter = latest(rec.EnqueuedAt, due, rec.ExpiresAt).Plus(unfinishedLife + s.ResultTTL)
	d := &draft{call: call, req: req, backend: backend, rec: rec}
	d.out, err = s.newMessage(d, limits, req.Args, req.Kwargs)
	return d, err
}

func (s *Service) newRecord(call Call, req Request, now time.Time) (*Record, error) {
	r := &Record{
		TaskName:     req.TaskName,
		Status:       Ready,
		EnqueuedAt:   At(now),
		Args:         string(req.Args),
		Kwargs:       string(req.Kwargs),
		Backend:      req.Backend,
		Priority:     req.Priority,
		TakesContext: req.TakesContext,
		Metadata:     req.Metadata,
		ExpiresAt:    req.ExpiresAt,
		MaxAttempts:  req.MaxAttempts,
		Group:        req.Group,
		Owner:        call.Owner,
	}
	if r.ID = req.repeatedID(call.Owner); r.ID == "" {
		r.ID, r.Fresh = s.NewID(), true
		return r, nil
	}
	fingerprint, err := req.fingerprint()
	r.Keyed = &Keyed{Fingerprint: fingerprint}
	return r, err
}

// create makes the task durable before anything is sent. existing is the record
// that the request's key already has. A receipt says that the target has
// accepted the message in the same commit.
//
// After an error the record may exist. If record and message are one commit, the
// message may exist too. For a request with neither key nor id, create then cancels
// the task, because no client repeats that request. In every other case nothing is
// cleaned up: a repeated request continues with the record, or the record stays
// until DeleteAfter. A look-up would be one more call to a failing store.
func (s *Service) create(ctx context.Context, d *draft, out outlet) (existing *Record, receipt *Receipt, err error) {
	keyed := d.rec.Keyed != nil
	if keyed {
		d.rec.Keyed.DispatchUntil = s.dispatchUntil(ctx)
	}
	atomic, isAtomic := d.backend.Dispatcher.(AtomicDispatcher)
	if isAtomic {
		if keyed {
			d.rec.Keyed.Dispatched = true
		}
		result := out.createAndDispatch(ctx, atomic, Entry{d.rec, d.out})
		existing, receipt, err = result.Existing, &result.Receipt, result.Err
	} else {
		existing, err = s.Store.Create(ctx, d.rec)
	}
	switch {
	case err == nil && existing == nil:
		return nil, receipt, nil
	case err == nil:
		return existing, nil, nil
	case KindOf(err) == Oversize:
		return nil, nil, &Error{Kind: PayloadTooLarge, Msg: "the store cannot hold this task", Err: err}
	case isAtomic && !keyed:
		ctx, cancel := cleanup(ctx)
		defer cancel()
		if r, getErr := s.Store.Get(ctx, d.rec.ID); getErr == nil {
			s.tombstone(ctx, r)
		}
	}
	return nil, nil, err
}

// The record of a keyed request says until when the request that created it may
// still be dispatching: its deadline and a margin for its clock.
const (
	dispatchMargin  = 5 * time.Second
	defaultDeadline = 30 * time.Second // of a request whose context has none
)

func (s *Service) dispatchUntil(ctx context.Context) Time {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = s.Now().Add(defaultDeadline)
	}
	return At(deadline.Add(dispatchMargin))
}

// resume answers a request whose record is already there. If dispatch_until has
// passed and the record does not say that the message was sent, this request takes
// over the dispatch. resume then returns nil, nil, and d.rec is the record to
// dispatch. If several requests try to take over, the compare-and-swap lets one
// succeed.
func (s *Service) resume(ctx context.Context, d *draft, existing *Record) (*Accepted, error) {
	now := s.Now()
	if existing.Gone(now) { // absent to every call, so this request is the first again
		d.rec.Revision, d.rec.Keyed.Dispatched = existing.Revision, false
	} else {
		if replay, err := s.replay(d.call, d.req, existing); replay != nil || err != nil {
			return replay, err
		}
		if until := existing.Keyed.DispatchUntil; now.Before(until.Time) {
			return nil, inFlight(existing.ID, until.Sub(now))
		}
		if existing.fromLaterVersion() {
			return nil, laterVersion(existing.ID)
		}
		d.rec = existing
	}
	// Build the message again from the record. The times are those of the first
	// request. The route is the one that the target uses now.
	d.rec.Keyed.DispatchUntil = s.dispatchUntil(ctx)
	limits := d.backend.Dispatcher.Limits(ctx, d.rec.physicalQueue(), max(0, d.rec.RunAfter.Sub(now)))
	d.rec.Dispatch.Route = limits.Route
	var err error
	d.out, err = s.newMessage(d, limits, []byte(d.rec.Args), []byte(d.rec.Kwargs))
	if err != nil { // whatever the reason, the earlier request may have sent the message
		return nil, &Error{Kind: Unavailable, TaskID: d.rec.ID, Err: err,
			Msg: "an earlier request may have sent this task, and its message cannot be made again with the settings of now"}
	}
	err = s.Store.Replace(ctx, d.rec)
	if KindOf(err) == Conflict {
		return nil, inFlight(d.rec.ID, time.Second)
	}
	return nil, err
}

func inFlight(id string, remainder time.Duration) *Error {
	return &Error{
		Kind: InFlight, Msg: "a request with this Idempotency-Key or id is being worked on",
		RetryAfter: remainder, TaskID: id,
	}
}

// replay answers a request by the record of an earlier one with its key or id. It
// returns nil, nil while that record does not say whether its message was sent.
func (s *Service) replay(call Call, req Request, existing *Record) (*Accepted, error) {
	if existing.Owner != call.Owner {
		return nil, Errorf(IDTaken, "this id belongs to another task: make a new one")
	}
	reused := Errorf(IdempotencyKeyReused, "this Idempotency-Key or id was used with another request")
	if existing.Keyed == nil {
		return nil, reused
	}
	same, err := req.matches(existing.Keyed.Fingerprint)
	switch {
	case err != nil:
		return nil, err
	case !same:
		return nil, reused
	case existing.Refusal != nil:
		return nil, &Error{Kind: existing.Refusal.Kind, Msg: existing.Refusal.Msg, TaskID: existing.ID}
	case existing.Keyed.Dispatched || existing.Attempts() > 0 || existing.Finished():
		return &Accepted{Task: existing.Document(s.Now()), Replayed: true}, nil
	}
	return nil, nil
}

// answerInvalid answers a request that breaks a rule. A task that was accepted
// before stays accepted, although its expires_at may have passed since, or the
// settings have changed: a repeated request is answered by its record. While the
// record does not know whether its message was sent, the answer must not be a
// 4xx, which would say that nothing was.
func (s *Service) answerInvalid(ctx context.Context, call Call, req Request, invalid error) (Accepted, error) {
	id := req.repeatedID(call.Owner)
	if id == "" {
		return Accepted{}, invalid
	}
	existing, err := s.Store.Get(ctx, id)
	now := s.Now()
	switch {
	case KindOf(err) == NotStored || err == nil && existing.Gone(now):
		return Accepted{}, invalid
	case err != nil:
		return Accepted{}, err
	}
	if replay, err := s.replay(call, req, existing); replay != nil || err != nil {
		return replayOr(replay, err)
	}
	if until := existing.Keyed.DispatchUntil; now.Before(until.Time) {
		return Accepted{}, inFlight(existing.ID, until.Sub(now))
	}
	r, err := s.swap(ctx, existing, func(r *Record) (bool, error) { return r.applyTime(s.Now(), s.ResultTTL), nil })
	if err == nil {
		if replay, err := s.replay(call, req, r); replay != nil || err != nil {
			return replayOr(replay, err)
		}
	}
	return Accepted{}, &Error{
		Kind: Unavailable, TaskID: existing.ID, Err: cmp.Or(err, invalid),
		Msg: "an earlier request with this Idempotency-Key or id may have sent the task, and the same request is not valid any more",
	}
}

// settle handles the result of a dispatch. It stores the result if a later request
// or a cancel needs it, and returns the answer to the request.
func (s *Service) settle(ctx context.Context, d *draft, receipt Receipt, err error) (Accepted, error) {
	ctx, cancel := cleanup(ctx)
	defer cancel()
	switch {
	case err == nil:
		return s.accepted(s.mark(ctx, d.rec, receipt)), nil
	case KindOf(err).Final():
		return s.refuse(ctx, d, asError(err))
	case d.rec.Keyed != nil:
		s.freeDispatch(ctx, d.rec)
	default:
		s.tombstone(ctx, d.rec)
	}
	reason := asError(err)
	reason.TaskID = d.rec.ID
	return Accepted{}, reason
}

// mark stores the receipt for a repeated request or a cancel, and returns the
// record with it. A lost mark is no failure: the message is accepted.
func (s *Service) mark(ctx context.Context, r *Record, receipt Receipt) *Record {
	marked, err := r, error(nil)
	if r.Keyed != nil || receipt.CancelRef != "" {
		marked, err = s.swapOnce(ctx, r, func(r *Record) {
			if r.Keyed != nil {
				r.Keyed.Dispatched = true
			}
			r.Dispatch.MessageID, r.Dispatch.CancelRef = receipt.MessageID, receipt.CancelRef
		})
	}
	switch {
	case err != nil:
		s.Log.LogAttrs(ctx, slog.LevelWarn, "mark lost", slog.String("task_id", r.ID), slog.Any("error", err))
		marked = r
	case marked.Ended == endCancelled:
		s.remove(ctx, marked, receipt.CancelRef)
	}
	marked.Dispatch.MessageID = receipt.MessageID
	return marked
}

// refuse ends a task whose message can never be accepted, and stores the reason for
// a repeated request. An earlier request with the same key may have sent the
// message. If an attempt has started or the task has finished, refuse leaves the
// record unchanged and answers from the record. Otherwise refuse ends the task, and
// a worker that gets the message drops it. If the end of a keyed task cannot be
// stored, refuse returns Unavailable, because a 4xx would say that nothing was
// sent.
func (s *Service) refuse(ctx context.Context, d *draft, reason *Error) (Accepted, error) {
	reason.TaskID = d.rec.ID
	r, err := s.swap(ctx, d.rec, func(r *Record) (bool, error) {
		if r.Finished() || r.Attempts() > 0 {
			return false, nil
		}
		r.Refusal = &Refusal{Kind: reason.Kind, Msg: reason.Msg}
		r.Errors = append(r.Errors, TaskError{errRefused.ExceptionClassPath, errRefused.Traceback + reason.Msg})
		r.end(endRefused, s.Now(), s.ResultTTL)
		return true, nil
	})
	keyed := d.rec.Keyed != nil
	switch {
	case err != nil && keyed:
		return Accepted{}, &Error{Kind: Unavailable, Msg: "the task is refused, and that could not be stored", Err: err, TaskID: reason.TaskID}
	case err != nil:
		s.Log.LogAttrs(ctx, slog.LevelWarn, "refusal not stored", slog.String("task_id", reason.TaskID), slog.Any("error", err))
	case keyed && r.Refusal == nil:
		if replay, err := s.replay(d.call, d.req, r); replay != nil || err != nil {
			return replayOr(replay, err)
		}
	}
	return Accepted{}, reason
}

// tombstone cancels a task whose message may or may not have been sent, and for
// which nobody will come back: a worker that gets the message drops it.
func (s *Service) tombstone(ctx context.Context, r *Record) {
	_, err := s.swap(ctx, r, func(r *Record) (bool, error) {
		if r.Finished() || r.Attempts() > 0 {
			return false, nil
		}
		r.cancel(s.Now(), s.ResultTTL)
		return true, nil
	})
	if err != nil {
		s.Log.LogAttrs(ctx, slog.LevelWarn, "tombstone not stored", slog.String("task_id", r.ID), slog.Any("error", err))
	}
}

// freeDispatch frees the dispatch of a task whose message may or may not have been
// sent, so that the repeated request need not wait for dispatch_until.
func (s *Service) freeDispatch(ctx context.Context, r *Record) {
	if _, err := s.swapOnce(ctx, r, func(r *Record) { r.Keyed.DispatchUntil = Time{} }); err != nil {
		s.Log.LogAttrs(ctx, slog.LevelWarn, "dispatch not released", slog.String("task_id", r.ID), slog.Any("error", err))
	}
}
