package task

import (
	"cmp"
	"context"
	"time"
)

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

// resume answers a request whose record is there already, or takes over its
// dispatch where the request that created it has not finished the work.
func (s *Service) resume(ctx context.Context, p *pending, existing *Record) {
	now := s.Now()
	if existing.Gone(now) { // absent to every call, so this request is the first again
		p.rec.Revision = existing.Revision
		p.rec.Keyed.Dispatched = false
		s.claim(ctx, p, p.rec)
		return
	}
	if s.replayed(p, existing) {
		return
	}
	if until := existing.Keyed.DispatchUntil; now.Before(until.Time) {
		p.fail(inFlight(existing.ID, until.Sub(now)))
		return
	}
	s.claim(ctx, p, existing)
}

// replayed answers a request by the record of an earlier one with its key, if
// that one is complete or was another request.
func (s *Service) replayed(p *pending, existing *Record) bool {
	fingerprint, err := p.req.fingerprint()
	switch {
	case err != nil:
		p.fail(err)
	case existing.Keyed == nil || existing.Keyed.Fingerprint != fingerprint:
		p.fail(Errorf(IdempotencyKeyReused, "this Idempotency-Key was used with another request"))
	case existing.Refusal != nil:
		p.fail(&Error{Kind: existing.Refusal.Kind, Msg: existing.Refusal.Msg, TaskID: existing.ID})
	case existing.Keyed.Dispatched || existing.Attempts() > 0 || existing.Finished():
		p.replay(existing)
	}
	return p.answered
}

// answerInvalid answers a request that breaks a rule. What was accepted before
// stays accepted, although its expires_at may have passed since, or the
// settings have changed: a repeated request is answered by its record. While the
// record does not know whether its message was sent, neither does the answer: a
// 4xx says that nothing was.
func (s *Service) answerInvalid(ctx context.Context, p *pending, invalid error) {
	if p.req.Key == "" {
		p.fail(invalid)
		return
	}
	existing, err := s.Store.Get(ctx, KeyedID(p.call.Owner, p.req.Key))
	switch now := s.Now(); {
	case KindOf(err) == NotStored || err == nil && existing.Gone(now):
		p.fail(invalid)
		return
	case err != nil:
		p.fail(err)
		return
	case s.replayed(p, existing):
		return
	case now.Before(existing.Keyed.DispatchUntil.Time):
		p.fail(inFlight(existing.ID, existing.Keyed.DispatchUntil.Sub(now)))
		return
	}
	r, err := s.swap(ctx, existing, func(r *Record) (bool, error) { return r.settle(s.Now(), s.ResultTTL), nil })
	if err != nil || !s.replayed(p, r) {
		p.fail(&Error{Kind: Unavailable, TaskID: existing.ID, Err: cmp.Or(err, invalid),
			Msg: "an earlier request with this Idempotency-Key may have sent the task, which breaks a rule by now"})
	}
}

// claim takes the dispatch of r over: of all who try, one wins the swap on
// dispatch_until and goes on with the record's own id.
func (s *Service) claim(ctx context.Context, p *pending, r *Record) {
	r.Keyed.DispatchUntil = s.dispatchUntil(ctx)
	p.rec = r
	if err := s.rebuild(ctx, p); err != nil {
		p.fail(err)
		return
	}
	err := s.Store.Replace(ctx, r)
	switch {
	case KindOf(err) == Conflict:
		p.fail(inFlight(r.ID, time.Second))
	case err != nil:
		p.fail(err)
	}
}

// rebuild builds the message again, as the record has it: the first request's
// instants, and whatever route its target takes by now.
func (s *Service) rebuild(ctx context.Context, p *pending) error {
	delay := max(0, p.rec.RunAfter.Sub(s.Now()))
	limits := p.backend.Dispatcher.Limits(ctx, p.rec.QueueName, delay)
	p.rec.Dispatch.Route = limits.Route
	return s.newMessage(p, limits)
}

func inFlight(id string, remainder time.Duration) *Error {
	return &Error{
		Kind: InFlight, Msg: "a request with this Idempotency-Key is being worked on",
		RetryAfter: remainder, TaskID: id,
	}
}
