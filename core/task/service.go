// Package task is the heart of taskgate: what a task is, how it is enqueued,
// reported on, cancelled and looked up. It knows no cloud and no HTTP; it
// reaches them through two ports, [Store] and [Dispatcher].
//
// The way of a task through the package: [ParseRequest] validates it,
// [Service.Enqueue] records and dispatches it, a worker's events go through
// [Service.Report] to [Record]'s state machine, and [Service.Get] shows it.
package task

import (
	"context"
	"log/slog"
	"time"
)

// Service is the application. All fields are set before the first call and not
// changed afterwards; the methods may be called concurrently. Every method's
// error is an [*Error] whose kind reaches the client.
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
	Queues       []string // what queue_name may be, beside the default queue; empty = anything
	DefaultQueue string   // for requests without queue_name; "" = they must have one
	Plain        bool     // send django-tasks-cloud's three keys alone

	// CheckQueue returns the naming rule of the target that a queue's name
	// breaks, or ""; nil = any name will do.
	CheckQueue func(name string) (rule string)
}

// Call is what the front door knows of a request beside its body.
type Call struct {
	Owner       string // the caller's name
	Admin       bool   // sees every owner's tasks
	BaseURL     string // of events_url: scheme and authority, and perhaps a path; no trailing slash
	Traceparent string // W3C Trace Context, checked; "" = none
	Tracestate  string
}

// sees reports whether the caller may know that the record exists.
func (c Call) sees(r *Record) bool { return c.Admin || c.Owner == r.Owner }

// unfinishedLife is how long an unfinished record outlives the last instant at
// which it was still expected to start: the longest that SQS, the strictest of
// the brokers, keeps a message (14 days), and a day to spare.
const unfinishedLife = 15 * 24 * time.Hour

// laterVersion is the error for a change of a record that a later version of
// taskgate wrote.
func laterVersion(id string) *Error {
	return &Error{
		Kind: Unavailable, TaskID: id, RetryAfter: 5 * time.Second,
		Msg: "a later version of taskgate wrote this task, and this version must not change it: finish the upgrade, then repeat the request",
	}
}

// cleanupTime bounds what is done after a request's own deadline may have passed.
const cleanupTime = 2 * time.Second

// cleanup returns a context for work that must be tried although the request
// has failed, perhaps because its time was up.
func cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
}

// fetch returns the record as it stands now, or UnknownTask when there is none,
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

// A change edits a record and says whether there is anything to write. Its
// error is for the caller, and is returned after the write.
type change func(*Record) (write bool, err error)

// swap changes a record by compare-and-swap. Whenever somebody else was faster,
// change is asked again, about the record as it then stands. A task that has
// taken the id over is not that record. What happened must not be lost for the
// length of a traceback: where the store has no room, those give way.
func (s *Service) swap(ctx context.Context, r *Record, change change) (*Record, error) {
	return s.swapBy(ctx, s.Store.Replace, r, change)
}

// swapBy does so with another way to replace the record.
func (s *Service) swapBy(ctx context.Context, replace func(context.Context, *Record) error, r *Record, change change) (*Record, error) {
	enqueuedAt := r.EnqueuedAt
	for {
		write, refused := change(r)
		if write && r.later() {
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
	sent := Sent{ID: r.ID, Queue: r.QueueName, Route: r.Dispatch.Route, CancelRef: cancelRef}
	if err := b.Dispatcher.Cancel(ctx, sent); err != nil {
		s.Log.LogAttrs(ctx, slog.LevelWarn, "message not removed", slog.String("task_id", r.ID), slog.Any("error", err))
	}
}
