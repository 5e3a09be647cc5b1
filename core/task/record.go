package task

import (
	"cmp"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// The statuses of Django's TaskResultStatus; there are never others.
const (
	Ready      = "READY"
	Running    = "RUNNING"
	Failed     = "FAILED"
	Successful = "SUCCESSFUL"
)

// The states beside the status.
const (
	StateScheduled = "SCHEDULED"
	StateQueued    = "QUEUED"
	StateRunning   = "RUNNING"
	StateStalled   = "STALLED" // the lease has lapsed
	StateRetrying  = "RETRYING"
	StateSucceeded = "SUCCEEDED"
	StateFailed    = "FAILED"
	StateCancelled = "CANCELLED"
	StateExpired   = "EXPIRED"
)

// Record is a task as it is stored. People also look results up in the store, so
// the members of the result document are at the top level under the same names.
// Timestamps are text; args, kwargs and return_value are JSON as text.
type Record struct {
	ID       string `json:"id"`
	Revision string `json:"-"` // the store's own, opaque, changed by every write
	Fresh    bool   `json:"-"` // the ID was generated for this record, so no other record has it

	TaskName        string            `json:"task_name"`
	Status          string            `json:"status"`
	EnqueuedAt      Time              `json:"enqueued_at"`
	StartedAt       Time              `json:"started_at,omitzero"`
	FinishedAt      Time              `json:"finished_at,omitzero"`
	LastAttemptedAt Time              `json:"last_attempted_at,omitzero"`
	Args            string            `json:"args"`
	Kwargs          string            `json:"kwargs"`
	Backend         string            `json:"backend"`
	QueueName       string            `json:"queue_name"`
	Priority        int               `json:"priority"`
	RunAfter        Time              `json:"run_after,omitzero"`
	TakesContext    bool              `json:"takes_context,omitzero"`
	Errors          []TaskError       `json:"errors,omitempty"`
	WorkerIDs       []string          `json:"worker_ids,omitempty"` // one per attempt
	ReturnValue     string            `json:"return_value,omitempty"`
	Metadata        map[string]string `json:"metadata,omitempty"`
	Progress        *Progress         `json:"progress,omitempty"`
	ExpiresAt       Time              `json:"expires_at,omitzero"`
	MaxAttempts     int               `json:"max_attempts,omitzero"` // 0 = the broker decides
	Group           string            `json:"group,omitzero"`
	CancelRequested bool              `json:"cancel_requested,omitzero"`
	Dispatch        Dispatch          `json:"dispatch"`
	Offloaded       bool              `json:"offloaded,omitzero"` // the message went without args and kwargs

	Owner       string    `json:"owner"`                  // the caller that enqueued it
	Ended       string    `json:"ended,omitzero"`         // how it finished: an end* constant
	AttemptEnds []string  `json:"attempt_ends,omitempty"` // how each ended attempt ended
	AttemptLog  []Attempt `json:"attempt_log,omitempty"`  // the newest maxAttemptLog
	DeliveryID  string    `json:"delivery_id,omitzero"`   // of the latest attempt
	ReleasedID  string    `json:"released_id,omitzero"`   // the delivery_id of the latest released event
	LeaseUntil  Time      `json:"lease_until,omitzero"`
	Refusal     *Refusal  `json:"refusal,omitempty"` // why the message can never be accepted
	Keyed       *Keyed    `json:"keyed,omitempty"`   // set when the request may be repeated
	DeleteAfter Time      `json:"delete_after"`      // past it, the record is absent to every call

	// Schema is the least version of this struct that a build must know to change
	// the record; 0 = 1. Unknown has the members that a later version wrote. Stores
	// keep them as they are. A version may add members at this level only: what it
	// adds inside another struct, an older version would lose.
	Schema  int                       `json:"schema,omitzero"`
	Unknown map[string]jsontext.Value `json:",embed"`
}

// SchemaVersion is the greatest [Record.Schema] that this build may change.
const SchemaVersion = 1

// fromLaterVersion reports whether a later version wrote the record. This build shows such a
// record but does not change it, because a change may need steps that only the
// later version knows.
func (r *Record) fromLaterVersion() bool { return r.Schema > SchemaVersion }

// How a task, or one attempt at it, ended.
const (
	endSucceeded    = "succeeded"
	endFailed       = "failed"
	endCancelled    = "cancelled"
	endExpired      = "expired"
	endLapsed       = "lapsed" // the lease ran out, and nobody reported
	endDeadLettered = "dead_lettered"
	endRefused      = "refused" // by the target, for good
)

// TaskError is one failed attempt, as in Django.
type TaskError struct {
	ExceptionClassPath string `json:"exception_class_path"`
	Traceback          string `json:"traceback"`
}

// maxAttemptLog is how many attempts a record describes.
const maxAttemptLog = 20

// Attempt describes one attempt.
type Attempt struct {
	Attempt   int    `json:"attempt"` // from 1
	WorkerID  string `json:"worker_id"`
	StartedAt Time   `json:"started_at"`
	EndedAt   Time   `json:"ended_at,omitzero"` // zero while it runs; of a lapsed one, the end of its lease
	Outcome   string `json:"outcome,omitzero"`  // "" while it runs; else succeeded, failed, cancelled or lapsed
}

// Progress is how far a worker says it is.
type Progress struct {
	Fraction float64 `json:"fraction"` // 0..1
	Message  string  `json:"message"`
}

// Dispatch says where the message went.
type Dispatch struct {
	Target    string `json:"target"`              // the kind of target: "sqs", "local", …
	Route     string `json:"route"`               // which way it went there
	Queue     string `json:"queue,omitzero"`      // the physical queue, where it is not queue_name's
	MessageID string `json:"message_id,omitzero"` // the target's id, if it was stored
	CancelRef string `json:"cancel_ref,omitzero"` // what a cancel needs
}

// Keyed is what makes a request with an Idempotency-Key, or with an id, repeatable.
type Keyed struct {
	Fingerprint   string `json:"fingerprint"`             // of the request, with its version
	Dispatched    bool   `json:"dispatched,omitzero"`     // the mark: the target accepted the message
	DispatchUntil Time   `json:"dispatch_until,omitzero"` // until then one request owns the dispatch
}

// Refusal is a stored problem: the answer to every repetition of the request.
type Refusal struct {
	Kind Kind   `json:"kind"`
	Msg  string `json:"msg"`
}

// Finished reports whether the status is terminal.
func (r *Record) Finished() bool { return r.Status == Failed || r.Status == Successful }

// Attempts returns how many attempts have started.
func (r *Record) Attempts() int { return len(r.WorkerIDs) }

// Gone reports whether the record is past its life.
func (r *Record) Gone(now time.Time) bool { return !now.Before(r.DeleteAfter.Time) }

// leased reports whether an attempt holds a live lease.
func (r *Record) leased(now time.Time) bool {
	return r.Status == Running && now.Before(r.LeaseUntil.Time)
}

// Position returns the record's place in a listing.
func (r *Record) Position() Position { return Position{r.EnqueuedAt, r.ID} }

// State returns the state at now, which is finer than the status.
func (r *Record) State(now time.Time) string {
	switch {
	case r.Status == Successful:
		return StateSucceeded
	case r.Status == Failed && r.Ended == endCancelled:
		return StateCancelled
	case r.Status == Failed && r.Ended == endExpired:
		return StateExpired
	case r.Status == Failed:
		return StateFailed
	case r.leased(now):
		return StateRunning
	case r.Status == Running:
		return StateStalled
	case r.Attempts() > 0:
		return StateRetrying
	case now.Before(r.RunAfter.Time):
		return StateScheduled
	}
	return StateQueued
}

// Document is the result document. It has Django's names and meanings, and members
// for what Django has no name for. Absent times are null.
type Document struct {
	ID              string            `json:"id"`
	TaskName        string            `json:"task_name"`
	Status          string            `json:"status"`
	EnqueuedAt      Time              `json:"enqueued_at"`
	StartedAt       Time              `json:"started_at"`
	FinishedAt      Time              `json:"finished_at"`
	LastAttemptedAt Time              `json:"last_attempted_at"`
	Args            jsontext.Value    `json:"args"`
	Kwargs          jsontext.Value    `json:"kwargs"`
	Backend         string            `json:"backend"`
	QueueName       string            `json:"queue_name"`
	Priority        int               `json:"priority"`
	RunAfter        Time              `json:"run_after"`
	TakesContext    bool              `json:"takes_context"`
	Errors          []TaskError       `json:"errors"`
	WorkerIDs       []string          `json:"worker_ids"`
	Attempts        int               `json:"attempts"`
	IsFinished      bool              `json:"is_finished"`
	Metadata        map[string]string `json:"metadata"`
	ReturnValue     jsontext.Value    `json:"return_value,omitzero"` // only when SUCCESSFUL

	State           string            `json:"state"`
	Progress        *Progress         `json:"progress"`
	ExpiresAt       Time              `json:"expires_at"`
	MaxAttempts     *int              `json:"max_attempts"`
	Group           *string           `json:"group"`
	CancelRequested bool              `json:"cancel_requested"`
	Dispatch        *DocumentDispatch `json:"dispatch"`
	AttemptLog      []DocumentAttempt `json:"attempt_log"` // the newest 20, oldest first
}

// DocumentAttempt is an [Attempt] in a document, where what is absent is null.
type DocumentAttempt struct {
	Attempt   int     `json:"attempt"`
	WorkerID  string  `json:"worker_id"`
	StartedAt Time    `json:"started_at"`
	EndedAt   Time    `json:"ended_at"`
	Outcome   *string `json:"outcome"`
}

// physicalQueue returns the name of the queue, topic or function that the message
// went to: a priority may have its own.
func (r *Record) physicalQueue() string { return cmp.Or(r.Dispatch.Queue, r.QueueName) }

// DocumentDispatch is the document's dispatch member.
type DocumentDispatch struct {
	Target    string  `json:"target"`
	Route     string  `json:"route"`
	Queue     string  `json:"queue"`      // physical
	MessageID *string `json:"message_id"` // null = no longer known
}

// Document returns the record's document at now.
func (r *Record) Document(now time.Time) Document {
	var returnValue jsontext.Value // nil = absent
	if r.Status == Successful {
		returnValue = jsontext.Value(r.ReturnValue)
	}
	var attempts []DocumentAttempt
	for _, a := range r.AttemptLog {
		attempts = append(attempts, DocumentAttempt{a.Attempt, a.WorkerID, a.StartedAt, a.EndedAt, orNull(a.Outcome)})
	}
	return Document{
		ID:              r.ID,
		TaskName:        r.TaskName,
		Status:          r.Status,
		EnqueuedAt:      r.EnqueuedAt,
		StartedAt:       r.StartedAt,
		FinishedAt:      r.FinishedAt,
		LastAttemptedAt: r.LastAttemptedAt,
		Args:            jsontext.Value(r.Args),
		Kwargs:          jsontext.Value(r.Kwargs),
		Backend:         r.Backend,
		QueueName:       r.QueueName,
		Priority:        r.Priority,
		RunAfter:        r.RunAfter,
		TakesContext:    r.TakesContext,
		Errors:          r.Errors,
		WorkerIDs:       r.WorkerIDs,
		Attempts:        r.Attempts(),
		IsFinished:      r.Finished(),
		Metadata:        r.Metadata,
		ReturnValue:     returnValue,
		State:           r.State(now),
		Progress:        r.Progress,
		ExpiresAt:       r.ExpiresAt,
		MaxAttempts:     orNull(r.MaxAttempts),
		Group:           orNull(r.Group),
		CancelRequested: r.CancelRequested,
		AttemptLog:      attempts,
		Dispatch: &DocumentDispatch{
			Target:    r.Dispatch.Target,
			Route:     r.Dispatch.Route,
			Queue:     r.physicalQueue(),
			MessageID: orNull(r.Dispatch.MessageID),
		},
	}
}

// orNull returns nil for the zero value, which JSON shows as null.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// Statuses returns every status.
func Statuses() []string { return []string{Ready, Running, Failed, Successful} }

// States returns every state.
func States() []string {
	return []string{
		StateScheduled, StateQueued, StateRunning, StateStalled, StateRetrying,
		StateSucceeded, StateFailed, StateCancelled, StateExpired,
	}
}
