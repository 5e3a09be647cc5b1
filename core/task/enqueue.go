package task

import (
	"context"
	"sync"
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
			return
		}
		s.record(ctx, p)
	})
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
	sent     DispatchResult
	answered bool // rec, replayed and err are the answer
	replayed bool
	err      error
}

func (p *pending) fail(err error)   { p.err, p.answered = err, true }
func (p *pending) accept()          { p.answered = true }
func (p *pending) replay(r *Record) { p.rec, p.replayed, p.answered = r, true, true }

func unanswered(ps []*pending) []*pending {
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

// each calls f for all ps, side by side when there are several.
func each(ps []*pending, f func(*pending)) {
	if len(ps) == 1 {
		f(ps[0])
		return
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxConcurrent)
	for _, p := range ps {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(p)
		})
	}
	wg.Wait()
}

// record makes the task durable before anything is sent. If its key has been
// used before, the record that is there decides what becomes of the request.
func (s *Service) record(ctx context.Context, p *pending) {
	atomic, isAtomic := p.backend.Dispatcher.(AtomicDispatcher)
	var existing *Record
	var err error
	if p.rec.Keyed != nil {
		p.rec.Keyed.DispatchUntil = s.dispatchUntil(ctx)
		p.rec.Keyed.Dispatched = isAtomic
	}
	if isAtomic {
		existing, p.sent.Receipt, err = atomic.CreateAndDispatch(ctx, p.rec, p.out)
	} else {
		existing, err = s.Store.Create(ctx, p.rec)
	}
	switch {
	case err != nil:
		s.answerUnrecorded(ctx, p, err)
	case existing != nil:
		s.resume(ctx, p, existing)
	case isAtomic:
		p.rec.Dispatch.MessageID = p.sent.Receipt.MessageID
		p.accept()
	}
}

// answerUnrecorded answers a request whose record may or may not be there:
// nothing was sent, and without a key nobody will come back for it.
func (s *Service) answerUnrecorded(ctx context.Context, p *pending, err error) {
	if KindOf(err) == Oversize {
		err = &Error{Kind: PayloadTooLarge, Msg: "the store cannot hold this task", Err: err}
	} else if p.rec.Keyed == nil {
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
	var single []*pending
	batches := map[queue][]*pending{}
	for _, p := range ps {
		if _, ok := p.backend.Dispatcher.(BatchDispatcher); ok && len(ps) > 1 {
			q := queue{p.rec.Backend, p.out.Queue}
			batches[q] = append(batches[q], p)
		} else {
			single = append(single, p)
		}
	}
	var wg sync.WaitGroup
	for _, batch := range batches {
		wg.Go(func() {
			out := make([]Outgoing, len(batch))
			for i, p := range batch {
				out[i] = p.out
			}
			for i, result := range batch[0].backend.Dispatcher.(BatchDispatcher).DispatchBatch(ctx, out) {
				batch[i].sent = result
			}
		})
	}
	each(single, func(p *pending) {
		p.sent.Receipt, p.sent.Err = p.backend.Dispatcher.Dispatch(ctx, p.out)
	})
	wg.Wait()
}

// settleDispatch notes what became of the message, where anybody will ask.
func (s *Service) settleDispatch(ctx context.Context, p *pending) {
	switch {
	case p.sent.Err == nil:
		s.mark(ctx, p)
		p.accept()
	case KindOf(p.sent.Err).Final():
		p.fail(s.refuse(ctx, p))
	default:
		p.fail(s.giveUp(ctx, p))
	}
}
