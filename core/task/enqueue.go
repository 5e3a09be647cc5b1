package task

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// Accepted is a task that is recorded, and whose message its target has accepted.
type Accepted struct {
	Task     Document
	Replayed bool  // the answer to an earlier request with the same Idempotency-Key
	Err      error // not nil: it is not accepted, for this reason
}

// Enqueue records a task and dispatches its message. When it returns no error,
// the record is durable and the target has accepted the message. The kinds of
// error that HTTP shows as 4xx mean that nothing was sent; Unavailable means
// that it is unknown, or refused for now: with an Idempotency-Key the same
// request may be repeated, and goes on where this one stopped.
func (s *Service) Enqueue(ctx context.Context, call Call, req Request) (Accepted, error) {
	a := s.EnqueueBatch(ctx, call, []Request{req})[0]
	return a, a.Err
}

// EnqueueBatch does what Enqueue does for each request, and returns the
// outcomes in their order. The requests do not depend on one another.
func (s *Service) EnqueueBatch(ctx context.Context, call Call, reqs []Request) []Accepted {
	ps := make([]*pending, len(reqs))
	for i, req := range reqs {
		ps[i] = &pending{call: call, req: req}
	}
	each(ps, func(p *pending) {
		if err := s.validate(ctx, p); err != nil {
			s.answerInvalid(ctx, p, err)
		}
	})
	s.record(ctx, unanswered(ps))
	s.dispatch(ctx, unanswered(ps))
	each(unanswered(ps), func(p *pending) { s.settleDispatch(ctx, p) })

	accepted := make([]Accepted, len(ps))
	for i, p := range ps {
		accepted[i] = Accepted{Replayed: p.replayed, Err: p.err}
		if p.err == nil {
			accepted[i].Task = p.rec.Document(s.Now())
		}
	}
	return accepted
}

// pending is one request on its way through Enqueue.
type pending struct {
	call    Call
	req     Request
	backend Backend

	rec      *Record
	out      Outgoing
	existing *Record // what an atomic dispatcher found
	sent     DispatchResult
	answered bool // rec, replayed and err are the answer
	replayed bool
	err      error
}

func (p *pending) fail(err error)   { p.err, p.answered = err, true }
func (p *pending) accept()          { p.answered = true }
func (p *pending) replay(r *Record) { p.rec, p.replayed, p.answered = r, true, true }

func unanswered(ps []*pending) []*pending {
	if !slices.ContainsFunc(ps, func(p *pending) bool { return p.answered }) {
		return ps
	}
	var rest []*pending
	for _, p := range ps {
		if !p.answered {
			rest = append(rest, p)
		}
	}
	return rest
}

// maxConcurrent bounds how many of a batch's items are worked on at once.
const maxConcurrent = 32

// each calls f for all items, side by side when there are several: a worker that
// is through with one takes the next, so that cheap items need few workers.
func each[T any](items []T, f func(T)) {
	var next atomic.Int64
	work := func() {
		for i := next.Add(1) - 1; int(i) < len(items); i = next.Add(1) - 1 {
			f(items[i])
		}
	}
	var wg sync.WaitGroup
	for range min(len(items), maxConcurrent) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}

// grouped returns the items that have a key in common together.
func grouped[K comparable](ps []*pending, key func(*pending) K) [][]*pending {
	if len(ps) == 1 {
		return [][]*pending{ps}
	}
	at := map[K]int{}
	var groups [][]*pending
	for _, p := range ps {
		k := key(p)
		i, ok := at[k]
		if !ok {
			i = len(groups)
			at[k] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], p)
	}
	return groups
}

// record makes the tasks durable before anything is sent, those of one backend
// together where its queue is in the store's own database.
func (s *Service) record(ctx context.Context, ps []*pending) {
	for _, p := range ps {
		if p.rec.Keyed != nil {
			p.rec.Keyed.DispatchUntil = s.dispatchUntil(ctx)
		}
	}
	var jobs []func()
	for _, group := range grouped(ps, func(p *pending) string { return p.rec.Backend }) {
		if d, ok := group[0].backend.Dispatcher.(AtomicDispatcher); ok {
			jobs = append(jobs, func() { s.recordAndDispatch(ctx, d, group) })
			continue
		}
		for _, p := range group {
			jobs = append(jobs, func() {
				existing, err := s.Store.Create(ctx, p.rec)
				s.settleRecord(ctx, p, existing, err)
			})
		}
	}
	each(jobs, func(job func()) { job() })
}

// recordAndDispatch records tasks and dispatches their messages in one.
func (s *Service) recordAndDispatch(ctx context.Context, d AtomicDispatcher, ps []*pending) {
	entries := make([]Entry, len(ps))
	for i, p := range ps {
		if p.rec.Keyed != nil {
			p.rec.Keyed.Dispatched = true
		}
		entries[i] = Entry{p.rec, p.out}
	}
	for i, result := range d.CreateAndDispatch(ctx, entries) {
		ps[i].existing, ps[i].sent = result.Existing, result.DispatchResult
	}
	each(ps, func(p *pending) {
		if p.existing == nil && p.sent.Err == nil {
			p.rec.Dispatch.MessageID = p.sent.Receipt.MessageID
			p.accept()
			return
		}
		s.settleRecord(ctx, p, p.existing, p.sent.Err)
	})
}

// settleRecord goes on when the record is new. If its key has been used before,
// the record that is there decides what becomes of the request.
func (s *Service) settleRecord(ctx context.Context, p *pending, existing *Record, err error) {
	switch {
	case err != nil:
		s.answerUnrecorded(ctx, p, err)
	case existing != nil:
		s.resume(ctx, p, existing)
	}
}

// answerUnrecorded answers a request whose record may or may not be there, and
// whose message may be there only if both are one commit: then, without a key,
// nobody will come back for them. Otherwise nothing was sent, and a record that
// is there after all waits until its life ends, as it does when the service dies
// at this point: to look for it would be one more call to a store that is
// failing, for each request that it fails.
func (s *Service) answerUnrecorded(ctx context.Context, p *pending, err error) {
	_, isAtomic := p.backend.Dispatcher.(AtomicDispatcher)
	if KindOf(err) == Oversize {
		err = &Error{Kind: PayloadTooLarge, Msg: "the store cannot hold this task", Err: err}
	} else if isAtomic && p.rec.Keyed == nil {
		ctx, cancel := cleanup(ctx)
		defer cancel()
		if r, getErr := s.Store.Get(ctx, p.rec.ID); getErr == nil {
			s.tombstone(ctx, r)
		}
	}
	p.fail(err)
}

// dispatch hands the messages to their targets, those of one queue together
// where the target takes several at once.
func (s *Service) dispatch(ctx context.Context, ps []*pending) {
	type queue struct{ backend, name string }
	var jobs []func()
	for _, group := range grouped(ps, func(p *pending) queue { return queue{p.rec.Backend, p.out.Queue} }) {
		if d, ok := group[0].backend.Dispatcher.(BatchDispatcher); ok && len(ps) > 1 {
			jobs = append(jobs, func() { s.dispatchBatch(ctx, d, group) })
			continue
		}
		for _, p := range group {
			jobs = append(jobs, func() {
				p.sent.Receipt, p.sent.Err = p.backend.Dispatcher.Dispatch(ctx, p.out)
			})
		}
	}
	each(jobs, func(job func()) { job() })
}

func (s *Service) dispatchBatch(ctx context.Context, d BatchDispatcher, ps []*pending) {
	out := make([]Outgoing, len(ps))
	for i, p := range ps {
		out[i] = p.out
	}
	for i, result := range d.DispatchBatch(ctx, out) {
		ps[i].sent = result
	}
}

// settleDispatch notes what became of the message, where anybody will ask.
func (s *Service) settleDispatch(ctx context.Context, p *pending) {
	switch {
	case p.sent.Err == nil:
		s.mark(ctx, p)
		p.accept()
	case KindOf(p.sent.Err).Final():
		s.refuse(ctx, p)
	default:
		p.fail(s.giveUp(ctx, p))
	}
}
