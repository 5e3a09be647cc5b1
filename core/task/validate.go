package task

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/taskgate/taskgate/core/strictjson"
)

// validate holds a request against its backend, and builds the record and the
// message from it. It sends nothing and stores nothing.
func (s *Service) validate(ctx context.Context, p *pending) error {
	now := s.Now()
	if err := s.resolve(p); err != nil {
		return err
	}
	due := p.req.due(now)
	var delay time.Duration
	if due.After(now) {
		delay = due.Sub(now)
	}
	limits := p.backend.Dispatcher.Limits(ctx, p.queue(), delay)
	if err := check(p.req, limits, due, now); err != nil {
		return err
	}
	if err := s.checkPayload(p.req); err != nil {
		return err
	}
	if err := s.newRecord(p, limits, due, now); err != nil {
		return err
	}
	return s.newMessage(p, limits)
}

// resolve finds the request's backend and checks its queue against QUEUES.
func (s *Service) resolve(p *pending) error {
	b, ok := s.Backends[p.req.Backend]
	if !ok {
		known := strings.Join(slices.Sorted(maps.Keys(s.Backends)), ", ")
		return invalid(UnknownBackend, "backend", fmt.Sprintf("must be one of: %s", known))
	}
	if q := p.req.QueueName; q != "" && len(b.Queues) > 0 && !slices.Contains(b.Queues, q) {
		return invalid(UnknownQueue, "queue_name", fmt.Sprintf("must be in the backend's QUEUES: %s", strings.Join(b.Queues, ", ")))
	}
	if q := p.req.QueueName; q != "" && b.CheckQueue != nil {
		if rule := b.CheckQueue(q); rule != "" {
			return invalid(UnknownQueue, "queue_name", rule)
		}
	}
	if p.req.QueueName == "" && b.DefaultQueue == "" {
		return invalid(UnknownQueue, "queue_name", "is required: the backend has no default queue")
	}
	p.backend = b
	return nil
}

// queue returns the physical name of the queue, topic or function.
func (p *pending) queue() string {
	if p.req.QueueName == "" {
		return p.backend.DefaultQueue
	}
	return p.req.QueueName
}

// check returns every rule that the request breaks at this target, at this time.
func check(req Request, limits Limits, due Time, now time.Time) error {
	var errs []strictjson.FieldError
	var kinds []Kind
	broken := func(k Kind, member, rule string, args ...any) {
		kinds = append(kinds, k)
		errs = append(errs, strictjson.FieldError{Pointer: "/" + member, Detail: fmt.Sprintf(rule, args...)})
	}
	if req.Priority != 0 {
		broken(PriorityUnsupported, "priority", "must be 0: no target has priorities")
	}
	if due.After(now) {
		member := "run_after"
		if req.DelaySeconds != nil {
			member = "delay_seconds"
		}
		if !limits.SupportsDefer {
			broken(RunAfterUnsupported, member, "this queue cannot delay a message")
		} else if most := limits.MaxDelaySeconds; most != nil && due.Sub(now) > time.Duration(*most)*time.Second {
			broken(RunAfterUnsupported, member, "this queue delays a message by %d seconds at most", *most)
		}
	}
	switch {
	case req.Group == "":
	case !limits.GroupMode.Supported():
		broken(GroupUnsupported, "group", "this queue has no groups")
	case limits.CheckGroup != nil:
		if rule := limits.CheckGroup(req.Group); rule != "" {
			broken(InvalidTask, "group", "%s", rule)
		}
	}
	if most := limits.MaxDeliveries; most != nil && int64(req.MaxAttempts) > *most {
		broken(MaxAttemptsTooHigh, "max_attempts", "this queue delivers a message %d times at most", *most)
	}
	if !req.ExpiresAt.IsZero() && !req.ExpiresAt.After(later(due, At(now)).Time) {
		broken(InvalidTask, "expires_at", "must be in the future, and after run_after")
	}
	if len(errs) == 0 {
		return nil
	}
	kind := kinds[0]
	if slices.ContainsFunc(kinds, func(k Kind) bool { return k != kind }) {
		kind = InvalidTask
	}
	return &Error{Kind: kind, Msg: "the task breaks the rules listed in errors", Fields: errs}
}

func invalid(k Kind, member, rule string) *Error {
	return &Error{Kind: k, Msg: member + " " + rule, Fields: []strictjson.FieldError{{Pointer: "/" + member, Detail: rule}}}
}

// checkPayload refuses what the store could not hold.
func (s *Service) checkPayload(req Request) error {
	metadata, err := encode(req.Metadata)
	if err != nil {
		return &Error{Kind: Internal, Msg: "cannot encode the metadata", Err: err}
	}
	if size := len(req.Args) + len(req.Kwargs) + len(metadata); size > s.MaxPayloadBytes {
		return Errorf(PayloadTooLarge, "args, kwargs and metadata have %d bytes together, and the store takes %d", size, s.MaxPayloadBytes)
	}
	return nil
}

func (s *Service) newRecord(p *pending, limits Limits, due Time, now time.Time) error {
	r := &Record{
		TaskName:     p.req.TaskName,
		Status:       Ready,
		EnqueuedAt:   At(now),
		Args:         string(p.req.Args),
		Kwargs:       string(p.req.Kwargs),
		Backend:      p.req.Backend,
		QueueName:    p.queue(),
		RunAfter:     due,
		TakesContext: p.req.TakesContext,
		Metadata:     p.req.Metadata,
		ExpiresAt:    p.req.ExpiresAt,
		MaxAttempts:  p.req.MaxAttempts,
		Group:        p.req.Group,
		Dispatch:     Dispatch{Target: p.backend.Target, Route: limits.Route},
		Owner:        p.call.Owner,
	}
	r.DeleteAfter = later(r.EnqueuedAt, due, r.ExpiresAt).Plus(unfinishedLife + s.ResultTTL)
	if p.req.Key == "" {
		r.ID = s.NewID()
	} else {
		r.ID = KeyedID(p.call.Owner, p.req.Key)
		fingerprint, err := p.req.fingerprint()
		if err != nil {
			return err
		}
		r.Keyed = &Keyed{Fingerprint: fingerprint}
	}
	p.rec = r
	return nil
}

// newMessage builds the record's message. The token outlives the record, so
// that every report which can still be repeated can be authorised.
func (s *Service) newMessage(p *pending, limits Limits) error {
	r := p.rec
	out, offloaded, err := outgoing(Message{
		TaskName: r.TaskName,
		Args:     p.req.Args,
		Kwargs:   p.req.Kwargs,
		Envelope: Envelope{
			ID:           r.ID,
			V:            MessageVersion,
			EnqueuedAt:   r.EnqueuedAt,
			EventsURL:    p.call.BaseURL + "/v1/tasks/" + r.ID + "/events",
			Token:        s.Tokens.Sign(r.ID, r.EnqueuedAt, r.DeleteAfter.Add(s.ResultTTL)),
			MaxAttempts:  r.MaxAttempts,
			ExpiresAt:    r.ExpiresAt,
			TakesContext: r.TakesContext,
			Metadata:     r.Metadata,
			Traceparent:  p.call.Traceparent,
			Tracestate:   p.call.Tracestate,
		},
	}, p.backend.Plain, limits)
	if err != nil {
		return err
	}
	out.Queue, out.Group, out.Due = r.QueueName, r.Group, r.RunAfter
	r.Offloaded = offloaded
	p.out = out
	return nil
}
