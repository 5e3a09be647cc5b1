package task

import (
	"context"
	"log/slog"

	"github.com/go-json-experiment/json/jsontext"
)

// Reporter is the right to report on one task.
type Reporter struct {
	service    *Service
	id         string
	enqueuedAt Time // tells the task from a later one with the same id; zero = either
}

// Reporter checks the token from the task's message. The error is Unauthenticated
// when the token does not give the right to report on this task.
func (s *Service) Reporter(id, token string) (Reporter, error) {
	enqueuedAt, err := s.Tokens.Verify(token, id, s.Now())
	if err != nil {
		return Reporter{}, err
	}
	return Reporter{s, id, enqueuedAt}, nil
}

// Report applies a worker's event. A worker may repeat it: the answer to an event
// that already took effect is the same. Errors: UnknownTask, Cancelled, Expired,
// Finished, StaleAttempt, LeaseHeld, CancelNotRequested, ResultTooLarge,
// Unavailable. Kind.Acknowledge says what they mean for the message.
func (w Reporter) Report(ctx context.Context, e Event) (Answer, error) {
	s, id := w.service, w.id
	var acknowledge, wrote bool
	move := MoveNone
	own := func(r *Record) bool { // the token is the right to see it
		return w.enqueuedAt.IsZero() || r.EnqueuedAt.Equal(w.enqueuedAt.Time)
	}
	replace := s.Store.Replace
	messages, ok := s.Store.(MessageStore)
	if ok {
		replace = func(ctx context.Context, r *Record) error { return messages.ReplaceAndMove(ctx, r, move) }
	}
	r, err := s.fetch(ctx, id, own)
	if err == nil {
		r, err = s.swapBy(ctx, replace, r, func(r *Record) (write bool, err error) {
			wrote, acknowledge, err = r.apply(e, s.Now(), s.ResultTTL)
			acknowledge = acknowledge || KindOf(err).Acknowledge()
			move = e.move(acknowledge, err)
			return wrote, err
		})
	}
	if ok && acknowledge && !wrote { // the task had ended before
		if err := messages.RemoveMessage(ctx, r); err != nil {
			s.Log.LogAttrs(ctx, slog.LevelWarn, "message not removed", slog.String("task_id", id), slog.Any("error", err))
		}
	}
	switch {
	case KindOf(err) == Oversize:
		return Answer{}, &Error{Kind: ResultTooLarge, Msg: "the store cannot hold this result", Err: err, TaskID: id}
	case err != nil:
		return Answer{}, err
	}
	return s.answer(r, e, acknowledge), nil
}

// move returns what the event does to the message when it is written. Only an
// event that takes effect is written, so a repeated one moves nothing.
func (e Event) move(acknowledge bool, err error) Move {
	switch {
	case acknowledge:
		return MoveDone
	case err != nil:
		return MoveNone
	case e.Type == EventStarted:
		return MoveStarted
	case e.Type == EventHeartbeat, e.Type == EventProgress:
		return MoveLeased
	case e.Type == EventFailed:
		return MoveRetry
	case e.Type == EventReleased:
		return MoveReleased
	}
	return MoveNone
}

func (s *Service) answer(r *Record, e Event, acknowledge bool) Answer {
	a := Answer{
		Acknowledge:     acknowledge,
		Attempt:         r.Attempts(),
		LeaseUntil:      r.LeaseUntil,
		CancelRequested: r.CancelRequested,
		Task:            r.Document(s.Now()),
	}
	if e.Type == EventStarted && r.Offloaded {
		a.Args, a.Kwargs = jsontext.Value(r.Args), jsontext.Value(r.Kwargs)
	}
	return a
}
