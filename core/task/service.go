// Package task is the domain of taskgate: what a task is, and how it is enqueued,
// reported on, cancelled and looked up. It knows neither clouds nor HTTP. It uses
// two ports, [Store] and [Dispatcher], which the adapters implement.
//
// A task takes this way through the package: [ParseRequest] validates the request,
// [Service.Enqueue] records the task and dispatches its message, [Reporter.Report]
// applies a worker's events to the [Record], and [Service.Get] returns the result.
package task

import (
	"context"
	"log/slog"
	"time"
)

// Service is the application. All fields are set before the first call and not
// changed afterwards. The methods may be called concurrently. Their errors are
// [*Error], whose kind the client sees.
type Service struct {
	Store    Store
	Backends map[string]Backend // by alias

	// PassedOver holds the aliases of TASKS that this service does not serve,
	// and why: a request for one of them is refused with these words.
	PassedOver map[string]string

	Tokens Tokens

	ResultTTL       time.Duration // how long a finished task is kept
	MaxWait         time.Duration // the longest that Get waits
	MaxPayloadBytes int           // what the store holds of args + kwargs + metadata, as JSON

	Now   func() time.Time
	NewID func() string
	Log   *slog.Logger

	waits waits
}

// Backend is one configured way to send tasks: an alias of the settings.
type Backend struct {
	Dispatcher   Dispatcher
	Target       string   // the kind of target, shown in documents: "sqs", "local", …
	Queues       []string // the values of queue_name that are allowed beside DefaultQueue; empty = any
	DefaultQueue string   // used when a request has no queue_name; "" = it must have one
	Payload      Payload  // "" = PayloadJSON

	// PriorityQueues has, for the name of a queue, the queues that take its
	// priorities. The named queue itself takes priorities from 0 on.
	PriorityQueues map[string]map[int]string // by queue and threshold, -100…100

	// CheckQueue returns the naming rule of the target that the name of a queue
	// breaks, or "" if it breaks none. nil = the target has no such rules.
	CheckQueue func(name string) (rule string)
}

// Payload is the form of a backend's messages.
type Payload string

// The payloads. A consumer of PayloadPlain can report, because the message's
// attributes have the envelope. The service assumes that a consumer of
// PayloadDjango does not report.
const (
	PayloadJSON   Payload = "json"               // one object with everything; the default
	PayloadPlain  Payload = "plain"              // task_name, args, kwargs, as django-tasks-cloud documents
	PayloadDjango Payload = "django-tasks-cloud" // task, args, kwargs, as its released code sends
)

// carriesEnvelope reports whether messages carry everything that a worker needs to report.
func (p Payload) carriesEnvelope() bool { return p == "" || p == PayloadJSON }

// Call is what the front door knows about a request, apart from its body.
type Call struct {
	Owner       string // the caller's name
	Admin       bool   // sees every owner's tasks
	BaseURL     string // the base of events_url: scheme, authority and optional path, no trailing slash
	Traceparent string // W3C Trace Context, checked; "" = none
	Tracestate  string
}

// maySee reports whether the caller may know that the record exists.
func (c Call) maySee(r *Record) bool { return c.Admin || c.Owner == r.Owner }

// unfinishedLife is how long an unfinished record is kept after the last time at
// which it was expected to start. SQS keeps a message for 14 days at most, which is
// the longest of all brokers with a limit; one day is to spare.
const unfinishedLife = 15 * 24 * time.Hour

// laterVersion is the error for a change of a record that a later version of
// taskgate wrote.
func laterVersion(id string) *Error {
	return &Error{
		Kind: Unavailable, TaskID: id, RetryAfter: 5 * time.Second,
		Msg: "a later version of taskgate wrote this task, and this version must not change it: finish the upgrade, then repeat the request",
	}
}

// cleanupTime bounds work that is done after a request's deadline may have passed.
const cleanupTime = 2 * time.Second

// cleanup returns a context for work that must be done even if the request has
// failed or its deadline has passed.
func cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
}

// fetch returns the current record. The error is UnknownTask when there is none,
// when it is past its life, or when the caller may not see it.
func (s *Service) fetch(ctx context.Context, id string, visible func(*Record) bool) (*Record, error) {
	unknown := unknownTask()
	if !validID(id) {
		return nil, unknown
	}
	r, err := s.Store.Get(ctx, id)
	switch {
	case KindOf(err) == NotStored:
		return nil, unknown
	case err != nil:
		return nil, err
	case r.Gone(s.Now()) || !visible(r):
		return nil, unknown
	}
	return r, nil
}

func unknownTask() *Error {
	return &Error{Kind: UnknownTask, Msg: "there is no task with this id"}
}

// update reads the record and changes it as [Service.swap] does.
func (s *Service) update(ctx context.Context, id string, visible func(*Record) bool, change change) (*Record, error) {
	r, err := s.fetch(ctx, id, visible)
	if err != nil {
		return nil, err
	}
	return s.swap(ctx, r, change)
}

// A change edits a record and reports whether the record must be written. Its
// error is returned to the caller after the write.
type change func(*Record) (write bool, err error)

// swap changes a record by compare-and-swap. If another writer was faster, it reads
// the record and calls change again. It stops with UnknownTask if the id now belongs
// to another task. If the store has no room for the record, swap shortens the
// tracebacks, because an event must not be lost over the length of a traceback.
func (s *Service) swap(ctx context.Context, r *Record, change change) (*Record, error) {
	return s.swapBy(ctx, s.Store.Replace, r, change)
}

// swapBy does what swap does, but writes the record with the function replace.
func (s *Service) swapBy(ctx context.Context, replace func(context.Context, *Record) error, r *Record, change change) (*Record, error) {
	enqueuedAt := r.EnqueuedAt
	for {
		write, refused := change(r)
		if write && r.fromLaterVersion() && r.Finished() {
			return nil, laterVersion(r.ID)
		}
		if !write {
			return r, refused
		}
		err := replace(ctx, r)
		for KindOf(err) == Oversize && r.shortenTracebacks() {
			err = replace(ctx, r)
		}
		if err == nil {
			return r, refused
		}
		if KindOf(err) != Conflict {
			return r, err
		}
		r, err = s.Store.Get(ctx, r.ID)
		switch {
		case KindOf(err) == NotStored: // its life has ended meanwhile
			return nil, unknownTask()
		case err != nil:
			return nil, err
		case !r.EnqueuedAt.Equal(enqueuedAt.Time):
			return nil, unknownTask()
		}
	}
}

// swapOnce changes a record by one compare-and-swap. When somebody else was
// faster, it changes nothing: it returns the record as it then stands.
func (s *Service) swapOnce(ctx context.Context, r *Record, change func(*Record)) (*Record, error) {
	tried := false
	return s.swap(ctx, r, func(r *Record) (bool, error) {
		if tried {
			return false, nil
		}
		tried = true
		change(r)
		return true, nil
	})
}

// remove removes the message of a cancelled task, where its target can. It is
// best effort: the worker of a message that stays is told of the cancel.
func (s *Service) remove(ctx context.Context, r *Record, cancelRef string) {
	b, ok := s.Backends[r.Backend]
	if !ok {
		return
	}
	sent := Sent{ID: r.ID, Queue: r.physicalQueue(), Route: r.Dispatch.Route, CancelRef: cancelRef}
	if err := b.Dispatcher.Cancel(ctx, sent); err != nil {
		s.Log.LogAttrs(ctx, slog.LevelWarn, "message not removed", slog.String("task_id", r.ID), slog.Any("error", err))
	}
}
