package task

import (
	"context"
	"time"
)

// Store keeps the records. Its contract is proven by core/task/storetest.
//
// Every write is durable when the method returns. Get is linearizable with
// Create and Replace. Methods may be called concurrently. A record passed in is
// not kept, and one returned belongs to the caller. Members in r.Unknown are kept
// like all others. Errors are [*Error]:
// Unavailable when the outcome is unknown or the store refuses for now, and
// the kinds named below.
type Store interface {
	// Create stores r if there is no record with its ID, and sets r.Revision.
	// Otherwise nothing changes, and existing is the record that is there.
	// Of any number of concurrent calls with one ID, one creates. If r.Fresh is
	// set, a store need not look whether the ID is there. Oversize when r is more
	// than the store can hold.
	Create(ctx context.Context, r *Record) (existing *Record, err error)

	// Get returns the record, or NotStored.
	Get(ctx context.Context, id string) (*Record, error)

	// Replace stores r in place of the record of its ID whose revision is
	// r.Revision, and sets r.Revision to a new one. Conflict when there is no
	// such record: the caller reads again. Oversize as in Create. A record that
	// takes over an id past its life has another EnqueuedAt, and moves.
	Replace(ctx context.Context, r *Record) error

	// List returns records that match the query, newest EnqueuedAt first
	// (then greatest ID), from those after q.After. It may be eventually
	// consistent, but walking the pages visits each matching record exactly
	// once, and writes during the walk neither skip nor repeat older ones.
	// Records past their life may be among them.
	List(ctx context.Context, q Query) (Page, error)
}

// MessageStore is a Store in whose database the messages are too, so that a
// worker's event can change the record and move its message in one commit. A
// worker that fetches its messages needs no second acknowledgement then.
type MessageStore interface {
	Store

	// ReplaceAndMove does what Replace does and, in the same commit, moves the
	// message of r's task. A message that has gone stays gone, and one that was
	// not handed out yet can only be removed.
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
	MoveLeased        // the lease was extended: the same; a message is never shown sooner than before
	MoveReleased      // the attempt failed and may be tried again: the message is due after the queue's backoff
	MoveReturned      // no attempt was started for the delivery: the message is due now, and the delivery is not counted
	MoveDone          // the task has ended: the message is removed; a dead letter is kept, as reported
)

// Watcher is a Store that tells when a record changes.
type Watcher interface {
	// Watch returns a channel that is closed once the record has been replaced or
	// deleted after this call. It says nothing of what time alone changes: a
	// record's expiry, lease or life. The caller calls stop when it is done.
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

// Page is a part of a listing. Next is where to go on; zero = there is no more.
// A page may hold fewer records than the limit, even none, and still have a Next.
type Page struct {
	Records []*Record
	Next    Position
}

// Dispatcher hands messages to one target: a queue, a topic or a function. Its
// contract is proven by core/task/dispatchtest.
//
// Methods may be called concurrently. Errors are [*Error]: of a kind that is
// Final when the message can never be accepted, also for being beyond Limits,
// and otherwise Unavailable, which covers a refusal and an unknown outcome alike.
type Dispatcher interface {
	// Limits says what the target can do for a message to queue that is due
	// after delay (0 = at once). It never fails: what cannot be learned is
	// left unknown, and Dispatch reports it.
	Limits(ctx context.Context, queue string, delay time.Duration) Limits

	// Dispatch returns once the target has durably accepted m. It delivers at
	// least once, never before m.Due, with Body and Attributes unchanged, but
	// that a target which cannot carry a character in a JSON string may have it
	// escaped. m.Route is what Limits answered, perhaps some time ago: the message
	// goes that way, also where m.Due has passed meanwhile. The same m.ID may come
	// again, and is then accepted or dropped as a duplicate.
	Dispatch(ctx context.Context, m Outgoing) (Receipt, error)

	// Cancel removes a message that Dispatch accepted. Where the target cannot,
	// or the message is gone already, it does nothing and that is no error.
	Cancel(ctx context.Context, s Sent) error
}

// BatchDispatcher is a Dispatcher whose target takes many messages in one call.
type BatchDispatcher interface {
	Dispatcher

	// DispatchBatch dispatches messages to one queue and returns, in their
	// order, what Dispatch would have returned for each.
	DispatchBatch(ctx context.Context, ms []Outgoing) []DispatchResult
}

// AtomicDispatcher is a Dispatcher whose queue lives in the Store's own
// database, so that a record and its message can be one commit.
type AtomicDispatcher interface {
	Dispatcher

	// CreateAndDispatch does, for each entry in turn, Store.Create and, if that
	// creates, Dispatch: both or neither. The results are in the order of the
	// entries. What is wrong with one entry is only its own error; but as they
	// may share a commit, they may all be Unavailable together.
	CreateAndDispatch(ctx context.Context, entries []Entry) []EntryResult
}

// Receiver is a Dispatcher whose messages workers fetch from the service. Only
// one whose Limits say SupportsReceive hands messages out.
type Receiver interface {
	Dispatcher

	// Receive hands out at most limit messages of the queue that are due, the
	// largest priority first and within it the longest due. It waits for the first
	// until the wait is over, and then returns none. A message that was handed out
	// is hidden for the visibility, which is durable when Receive returns, and then
	// comes again, unless an event has moved it (see [Move]).
	Receive(ctx context.Context, queue string, limit int, visibility, wait time.Duration) ([]Received, error)
}

// Received is a message as Receive hands it out.
type Received struct {
	Body       []byte // one JSON object
	Attributes map[string]string
	Deliveries int // which delivery of the message this is, from 1
}

// Entry is a record, and the message that goes with it.
type Entry struct {
	Record  *Record
	Message Outgoing
}

// EntryResult is one entry's outcome; Existing is as Store.Create has it.
type EntryResult struct {
	Existing *Record
	DispatchResult
}

// Outgoing is a message on its way to a target.
type Outgoing struct {
	ID         string // the task's
	Queue      string // physical name of the queue, topic or function
	Route      string // as Limits answered for this queue and delay
	Body       []byte // one JSON object
	Attributes map[string]string
	Group      string // "" = none
	Due        Time   // zero = at once
}

// Receipt is what a target said when it accepted a message.
type Receipt struct {
	MessageID string // the target's own id for the message, or ""
	CancelRef string // what Cancel needs beside the id; "" = nothing needs storing
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

// Limits is what a target can do; nil = unknown or unbounded. The service
// enforces what the capabilities endpoint shows: this value.
type Limits struct {
	Route      string                           `json:"-"` // which way a message goes: dispatch.route
	CheckGroup func(group string) (rule string) `json:"-"` // the rule that a group breaks, or ""; nil = any will do

	// CheckTaskName returns the rule that a task's name breaks, or "", where the
	// target carries the name in an attribute; nil = any will do.
	CheckTaskName func(name string) (rule string) `json:"-"`

	SupportsDefer   bool      `json:"supports_defer"`
	MaxDelaySeconds *int64    `json:"max_delay_seconds"`
	GroupMode       GroupMode `json:"group_mode"`
	SupportsCancel  bool      `json:"supports_cancel"`  // whether Cancel can remove a message
	SupportsReceive bool      `json:"supports_receive"` // whether workers fetch messages from the service
	FanOut          bool      `json:"fan_out"`
	MaxMessageBytes *int64    `json:"max_message_bytes"` // of the JSON, before any encoding
	MaxDeliveries   *int64    `json:"max_deliveries"`
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
