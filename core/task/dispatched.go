package task

import (
	"context"
	"log/slog"
)

// mark stores what the target said, where somebody will need it: a repeated
// request, or a cancel. It is not worth failing for: the message is accepted.
func (s *Service) mark(ctx context.Context, p *pending) {
	receipt := p.sent.Receipt
	defer func() { p.rec.Dispatch.MessageID = receipt.MessageID }()
	if p.rec.Keyed == nil && receipt.CancelRef == "" {
		return
	}
	ctx, cancel := cleanup(ctx)
	defer cancel()
	tried := false
	r, err := s.swap(ctx, p.rec, func(r *Record) (bool, error) {
		if tried { // somebody else has changed the record: never overwrite that
			return false, nil
		}
		tried = true
		if r.Keyed != nil {
			r.Keyed.Dispatched = true
		}
		r.Dispatch.MessageID, r.Dispatch.CancelRef = receipt.MessageID, receipt.CancelRef
		return true, nil
	})
	if err != nil {
		s.Log.LogAttrs(ctx, slog.LevelWarn, "mark lost", slog.String("task_id", p.rec.ID), slog.Any("error", err))
		return
	}
	if r.Ended == endCancelled {
		s.remove(ctx, r, receipt.CancelRef)
	}
	p.rec = r
}

// refuse ends a task whose message can never be accepted, and keeps the reason
// for whoever repeats the request. An earlier request with its key may have sent
// it all the same: what has started, or is over, stands, and is the answer; what
// has not finds its task ended, and is dropped. Where the end could not be
// stored, a 4xx could hide a message.
func (s *Service) refuse(ctx context.Context, p *pending) {
	ctx, cancel := cleanup(ctx)
	defer cancel()
	id, reason := p.rec.ID, asError(p.sent.Err)
	reason.TaskID = id
	r, err := s.swap(ctx, p.rec, func(r *Record) (bool, error) {
		if r.Finished() || r.Attempts() > 0 {
			return false, nil
		}
		r.Refusal = &Refusal{Kind: reason.Kind, Msg: reason.Msg}
		r.Errors = append(r.Errors, TaskError{errRefused.ExceptionClassPath, errRefused.Traceback + reason.Msg})
		r.end(endRefused, s.Now(), s.ResultTTL)
		return true, nil
	})
	switch {
	case err != nil && p.req.Key != "":
		p.fail(&Error{Kind: Unavailable, Msg: "the task is refused, and that could not be stored", Err: err, TaskID: id})
	case err != nil:
		s.Log.LogAttrs(ctx, slog.LevelWarn, "refusal not stored", slog.String("task_id", id), slog.Any("error", err))
		p.fail(reason)
	case p.req.Key == "" || r.Refusal != nil || !s.replayed(p, r):
		p.fail(reason)
	}
}

// giveUp answers a request whose message may or may not have been sent. With a
// key, the dispatch is free at once for whoever repeats the request. Without
// one, nobody will come back: the record becomes a tombstone, so that a message
// that slipped through is dropped by its worker.
func (s *Service) giveUp(ctx context.Context, p *pending) error {
	ctx, cancel := cleanup(ctx)
	defer cancel()
	if p.rec.Keyed == nil {
		s.tombstone(ctx, p.rec)
	} else {
		s.release(ctx, p.rec)
	}
	reason := asError(p.sent.Err)
	reason.TaskID = p.rec.ID
	return reason
}

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

func (s *Service) release(ctx context.Context, r *Record) {
	tried := false
	_, err := s.swap(ctx, r, func(r *Record) (bool, error) {
		if tried {
			return false, nil
		}
		tried = true
		r.Keyed.DispatchUntil = Time{}
		return true, nil
	})
	if err != nil {
		s.Log.LogAttrs(ctx, slog.LevelWarn, "dispatch not released", slog.String("task_id", r.ID), slog.Any("error", err))
	}
}

// remove takes a cancelled task's message away, where its target can. It is
// best effort: a message that stays is dropped by its worker, who is told.
func (s *Service) remove(ctx context.Context, r *Record, cancelRef string) {
	b, ok := s.Backends[r.Backend]
	if !ok {
		return
	}
	sent := Sent{ID: r.ID, Queue: r.QueueName, Route: r.Dispatch.Route, CancelRef: cancelRef}
	if err := b.Dispatcher.Cancel(ctx, sent); err != nil {
		s.Log.LogAttrs(ctx, slog.LevelWarn, "message not removed", slog.String("task_id", r.ID), slog.Any("error", err))
	}
}
