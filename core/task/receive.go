package task

import (
	"context"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
)

// The limits of a [ReceiveRequest].
const (
	MaxReceive     = 32 // messages
	MaxReceiveWait = 20 // seconds
)

// ReceiveRequest asks for messages of one queue.
type ReceiveRequest struct {
	Backend           string
	Max               int     // messages, 1 to MaxReceive
	Wait              float64 // for the first message, in seconds, 0 to MaxReceiveWait
	VisibilitySeconds int     // how long the messages are hidden, MinLease to MaxLease
}

// ParseReceive decodes a request from checked JSON: InvalidReceive with every
// rule that it breaks.
func ParseReceive(v jsontext.Value) (ReceiveRequest, error) {
	r := ReceiveRequest{Backend: "default", Max: 1, VisibilitySeconds: DefaultLease}
	errs := strictjson.Object(func(name string) strictjson.Field {
		switch name {
		case "backend":
			return strictjson.Name(&r.Backend, maxName)
		case "max":
			return strictjson.Int(&r.Max, 1, MaxReceive)
		case "wait":
			return strictjson.Number(&r.Wait, 0, MaxReceiveWait)
		case "visibility_seconds":
			return strictjson.Int(&r.VisibilitySeconds, MinLease, MaxLease)
		}
		return nil
	})("", v)
	if len(errs) > 0 {
		return ReceiveRequest{}, &Error{Kind: InvalidReceive, Msg: "the request breaks the rules listed in errors", Fields: errs}
	}
	return r, nil
}

// Receive hands out messages of a queue. It may return none. It does not check who
// owns the tasks. A worker does not acknowledge the messages: its events move them
// (see [Move]). A message without events is handed out again when its visibility
// ends. Errors: UnknownBackend, UnknownQueue, ReceiveUnsupported, Unavailable.
func (s *Service) Receive(ctx context.Context, queue string, req ReceiveRequest) ([]Received, error) {
	b, queue, err := s.resolve(req.Backend, queue) // as an enqueue does: "default" may mean another queue
	if err != nil {
		return nil, err
	}
	receiver, ok := b.Dispatcher.(Receiver)
	if !ok || !b.Dispatcher.Limits(ctx, queue, 0).SupportsReceive {
		return nil, Errorf(ReceiveUnsupported, "workers do not fetch messages of this backend: it pushes them, or a cloud's own queue has them")
	}
	wait := min(time.Duration(req.Wait*float64(time.Second)), s.MaxWait)
	return receiver.Receive(ctx, queue, req.Max, time.Duration(req.VisibilitySeconds)*time.Second, wait)
}
