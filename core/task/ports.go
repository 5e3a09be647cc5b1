package task

import (
	"context"
	"time"
)

// Store keeps the records. Package storetest tests this contract.
//
// A write is durable when the method returns. Get is linearizable with Create and
// Replace: it sees every write that has returned. All methods may be called
// concurrently. The store copies what it needs of a record that is passed in, and
// the caller owns a record that is returned. The store also keeps the members in
// Record.Unknown.
//
// Errors are [*Error]. The kind is Unavailable when the outcome is unknown or when
// the store refuses for now. The methods below name the other kinds.
type Store interface {
	// Create stores r and sets r.Revision, if no record has r.ID. If one does, it
	// changes nothing and returns that record. Of many concurrent calls with the
	// same ID, exactly one creates. If r.Fresh is true, the store may skip the look
	// for an existing record. The kind is Oversize when r is larger than the store
	// can hold.
	Create(ctx context.Context, r *Record) (existing *Record, err error)

	// Get returns the record, or NotStored.
	Get(ctx context.Context, id string) (*Record, error)

	// Replace stores r in place of the record with the same ID and Revision, and
	// sets r.Revision to a new value. The kind is Conflict when there is no such
	// record; then the caller reads the record again. Oversize is as in Create.
	// When a new task takes over the ID of a record that is past its life,
	// EnqueuedAt changes, and with it the record's place in listings.
	Replace(ctx context.Context, r *Record) error

	// List returns the records after q.After that match the query: the newest
	// EnqueuedAt first, and of equal ones the greatest ID first. It may be
	// eventually consistent. A walk through all pages visits each matching record
	// exactly once, also while other records are written. Records past their life
	// may be among the results.
	List(ctx context.Context, q Query) (Page, error)
}

// MessageStore is a Store that also holds the messages. A worker's event can change
// the record and move the message in one commit. A worker that fetches messages
// therefore does not acknowledge them separately.
type MessageStore interface {
	Store

	// ReplaceAndMove does what Replace does and, in the same commit, moves the
	// message of r's task. If the message no longer exists, ReplaceAndMove does not
	// create it again. MoveDone removes a message that was not handed out yet;
	// other moves do not change such a message.
	ReplaceAndMove(ctx context.Context, r *Record, m Move) error

	// RemoveMessage removes the message of a task that has ended, if there is
	// one. A message of another task that has taken the id over stays.
	RemoveMessage(ctx context.Context, r *Record) error
}

// Move is what an event does to the message of its task.
type Move int

const (
	MoveNone     Move = iota
	MoveStarted       // an attempt has started: the message is hidden at least until r.LeaseUntil
	MoveLeased        // the lease was extended: the message is hidden at least until r.LeaseUntil, and never for less time than before
	MoveRetry         // the attempt failed and may be tried again: the message is due after the queue's backoff
	MoveReleased      // no attempt was started for the delivery: the message is due now, and the delivery is not counted
	MoveDone          // the task has ended: the message is removed; a dead letter is kept, as reported
)

// Watcher is a Store that tells when a record changes.
type Watcher interface {
	// Watch returns a channel that is closed once the record has been replaced or
	// deleted after this call. It does not tell what only time changes: a record's
	// expiry, lease or life. The caller must call stop.
	Watch(id string) (changed <-chan struct{}, stop func())
}

// Query selects records. An empty string matches any value.
type Query struct {
	Owner, Status, QueueName, Backend, TaskName string

	After Position // exclusive; zero = from the newest
	Limit int      // at most this many records, ≥ 1
}

// Position is a record's place in a listing.
type Position struct {
	EnqueuedAt Time   `json:"t"`
	ID         string `json:"id"`
}

// Page is a part of a listing. The next page begins after Next; zero = this is the
// last page. A page may have fewer records than the limit, even none, and still
// have a Next.
type Page struct {
	Records []*Record
	Next    Position
}

// Dispatcher sends messages to targets of one kind: queues, topics or functions.
// Package dispatchtest tests this contract.
//
// All methods may be called concurrently. Errors are [*Error]. When the target can
// never accept the message, Kind.Final is true: the kind is MessageTooLarge or
// MessageRejected. An example is a message that exceeds Limits. Otherwise it is
// Unavailable: the target refuses for now, or the outcome is unknown.
type Dispatcher interface {
	// Limits returns what the target can do for a message to queue that is due
	// after delay (0 = at once). It never fails: it leaves out what it cannot find
	// out, and Dispatch reports the problem.
	Limits(ctx context.Context, queue string, delay time.Duration) Limits

	// Dispatch returns when the target has durably accepted m. The target delivers
	// m at least once and never before m.Due. It delivers Body and Attributes
	// unchanged, except that characters in JSON strings may be escaped where a
	// target cannot carry them. The message goes by m.Route, which Limits returned
	// some time ago, even if m.Due has passed since. A repeated m.ID is accepted, or
	// dropped as a duplicate.
	Dispatch(ctx context.Context, m Outgoing) (Receipt, error)

	// Cancel removes a message that Dispatch accepted. If the target cannot do
	// that, or the message is already gone, Cancel does nothing and returns nil.
	Cancel(ctx context.Context, s Sent) error
}

// BatchDispatcher is a Dispatcher whose target takes many messages in one call.
type BatchDispatcher interface {
	Dispatcher

	// DispatchBatch dispatches messages to one queue. It returns what Dispatch would
	// have returned for each, in the order of the messages.
	DispatchBatch(ctx context.Context, ms []Outgoing) []DispatchResult
}

// AtomicDispatcher is a Dispatcher whose queue lives in the Store's own
// database, so that a record and its message can be one commit.
type AtomicDispatcher interface {
	Dispatcher

	// CreateAndDispatch calls Store.Create for each entry in turn and, if that
	// creates the record, Dispatch: both happen or neither. The results are in the
	// order of the entries. An error of one entry does not concern the others, but
	// entries may share a commit, so all of them may be Unavailable together.
	CreateAndDispatch(ctx context.Context, entries []Entry) []EntryResult
}

// Receiver is a Dispatcher whose messages workers fetch from the service. Only
// one whose Limits say SupportsReceive hands messages out.
type Receiver interface {
	Dispatcher

	// Receive hands out at most limit due messages of the queue: the largest
	// priority first, and of one priority the message that has been due longest. If
	// none is due, it waits for the first one until the wait is over. A message that
	// was handed out is hidden for the time visibility; this is durable when Receive
	// returns. After that the message is handed out again, unless an event has moved
	// it (see [Move]).
	Receive(ctx context.Context, queue string, limit int, visibility, wait time.Duration) ([]Received, error)
}

// Received is a message that Receive has handed out.
type Received struct {
	Body       []byte // one JSON object
	Attributes map[string]string
	Deliveries int // which delivery of the message this is, from 1
}

// Entry is a record and its message.
type Entry struct {
	Record  *Record
	Message Outgoing
}

// EntryResult is the outcome of one entry. Existing is as in [Store.Create].
type EntryResult struct {
	Existing *Record
	DispatchResult
}

// Outgoing is a message on its way to a target.
type Outgoing struct {
	ID         string // the task's
	Queue      string // physical name of the queue, topic or function
	Route      string // as Limits returned it for this queue and delay
	Body       []byte // one JSON object
	Attributes map[string]string
	Group      string // "" = none
	Priority   int    // larger is sooner, where Limits.SupportsPriority; else 0
	Due        Time   // zero = at once
}

// Receipt is what a target returned when it accepted a message.
type Receipt struct {
	MessageID string // the target's own id for the message, or ""
	CancelRef string // what Cancel needs besides the id; "" = nothing
}

// Sent names a message for Cancel.
type Sent struct {
	ID, Queue, Route, CancelRef string
}

// DispatchResult is one message's outcome in a batch.
type DispatchResult struct {
	Receipt Receipt
	Err     error
}

// Limits is what a target can do; nil = unknown or unbounded. The service enforces
// the same value that the capabilities endpoint shows.
type Limits struct {
	Route      string                           `json:"-"` // which way a message goes: dispatch.route
	CheckGroup func(group string) (rule string) `json:"-"` // the rule that a group breaks, or ""; nil = any will do

	// CheckTaskName returns the rule that a task's name breaks, or "", where the
	// target carries the name in an attribute; nil = any will do.
	CheckTaskName func(name string) (rule string) `json:"-"`

	SupportsDefer    bool      `json:"supports_defer"`
	MaxDelaySeconds  *int64    `json:"max_delay_seconds"`
	SupportsPriority bool      `json:"-"` // the queue itself delivers larger priorities first
	GroupMode        GroupMode `json:"group_mode"`
	SupportsCancel   bool      `json:"supports_cancel"`  // whether Cancel can remove a message
	SupportsReceive  bool      `json:"supports_receive"` // whether workers fetch messages from the service
	FanOut           bool      `json:"fan_out"`
	MaxMessageBytes  *int64    `json:"max_message_bytes"` // of the JSON, before any encoding
	MaxDeliveries    *int64    `json:"max_deliveries"`
}

// GroupMode says what a target does with a task's group.
type GroupMode string

// The group modes. The zero value is GroupNone.
const (
	GroupNone     GroupMode = "none"     // the target has no groups: a task with one is refused
	GroupOrder    GroupMode = "order"    // messages of one group are delivered in order
	GroupFairness GroupMode = "fairness" // a group that sends much does not delay the others
)

// Supported reports whether a task may have a group.
func (g GroupMode) Supported() bool { return g == GroupOrder || g == GroupFairness }

// MarshalText implements encoding.TextMarshaler.
func (g GroupMode) MarshalText() ([]byte, error) {
	if g == "" {
		g = GroupNone
	}
	return []byte(g), nil
}
