package embedded

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/core/task"
)

// Route is the only way that a message goes here.
const Route = "local"

// MaxMessageBytes is the most that a message's body may have.
const MaxMessageBytes = 2 << 20

// DefaultMaxDeliveries is how often a message is delivered before it is a dead
// letter, unless the backend says otherwise.
const DefaultMaxDeliveries = 20

// Dispatcher fills the queues of one backend: a [task.AtomicDispatcher].
type Dispatcher struct {
	db      *DB
	backend string
	options DispatcherOptions
}

// DispatcherOptions are what a [Dispatcher] is told; the zero value is the default.
type DispatcherOptions struct {
	MaxDeliveries int  // how often a message is delivered at most; 0 = [DefaultMaxDeliveries]
	Receive       bool // workers fetch the messages, and nobody claims them
}

// Dispatcher returns the dispatcher of the backend with this alias.
func (d *DB) Dispatcher(backend string, o DispatcherOptions) *Dispatcher {
	if o.MaxDeliveries <= 0 {
		o.MaxDeliveries = DefaultMaxDeliveries
	}
	return &Dispatcher{d, backend, o}
}

// Limits implements [task.Dispatcher].
func (q *Dispatcher) Limits(context.Context, string, time.Duration) task.Limits {
	maxMessage, maxDeliveries := int64(MaxMessageBytes), int64(q.options.MaxDeliveries)
	return task.Limits{
		Route:            Route,
		SupportsDefer:    true,
		SupportsCancel:   true,
		SupportsPriority: true,
		SupportsReceive:  q.options.Receive,
		MaxMessageBytes:  &maxMessage,
		MaxDeliveries:    &maxDeliveries,
	}
}

// message is the head of a stored message; the body follows it.
type message struct {
	Attributes map[string]string `json:"attributes,omitempty"`
}

// Dispatch implements [task.Dispatcher]. A message whose id is in the queue
// already, or among the dead letters, is accepted and dropped.
func (q *Dispatcher) Dispatch(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
	head, err := q.head(m)
	if err != nil {
		return task.Receipt{}, err
	}
	end, err := q.db.begin(ctx, "dispatch", m.ID)
	if err != nil {
		return task.Receipt{}, err
	}
	defer end()
	defer q.db.locks.lock(m.ID)()

	_, found, err := q.db.entry(m.ID)
	if err != nil {
		return task.Receipt{}, unavailable("dispatch", m.ID, err)
	}
	if found {
		return task.Receipt{}, nil
	}
	b := q.db.pebble.NewBatch()
	e := q.entry(m)
	err = errors.Join(q.db.setMessage(b, m, head), q.db.put(b, m.ID, entry{}, e))
	if err == nil {
		err = q.db.commit(b, true)
	}
	if err != nil {
		return task.Receipt{}, unavailable("dispatch", m.ID, err)
	}
	q.db.added(e)
	return task.Receipt{}, nil
}

// CreateAndDispatch implements [task.AtomicDispatcher]: all entries that can be
// accepted are one commit.
func (q *Dispatcher) CreateAndDispatch(ctx context.Context, entries []task.Entry) []task.EntryResult {
	creations := make([]*creation, len(entries))
	for i := range entries {
		e := &entries[i]
		creations[i] = &creation{Record: e.Record, message: &e.Message, entry: q.entry(e.Message)}
		creations[i].head, creations[i].err = q.head(e.Message)
	}
	q.db.create(ctx, creations...)
	results := make([]task.EntryResult, len(entries))
	for i, c := range creations {
		results[i].Existing, results[i].Err = c.existing, c.err
	}
	return results
}

// Cancel implements [task.Dispatcher]. It removes a message that is being
// delivered, too: that delivery is the last.
func (q *Dispatcher) Cancel(ctx context.Context, s task.Sent) error {
	end, err := q.db.begin(ctx, "cancel", s.ID)
	if err != nil {
		return err
	}
	defer end()
	defer q.db.locks.lock(s.ID)()

	b := q.db.pebble.NewBatch()
	found, err := q.db.removeEntry(b, s.ID)
	if err == nil && found {
		err = q.db.commit(b, true)
	}
	if err != nil {
		return unavailable("cancel", s.ID, err)
	}
	q.db.forget(s.ID)
	return nil
}

// head checks m and encodes what is stored before its body.
func (q *Dispatcher) head(m task.Outgoing) ([]byte, error) {
	if len(m.Body) > MaxMessageBytes {
		return nil, task.Errorf(task.MessageTooLarge, "the message has %d bytes, and the local queue takes %d", len(m.Body), MaxMessageBytes)
	}
	if m.Group != "" {
		return nil, task.Errorf(task.MessageRejected, "the local queue has no groups")
	}
	head, err := json.Marshal(message{m.Attributes})
	if err != nil {
		return nil, &task.Error{Kind: task.MessageRejected, Msg: "an attribute cannot be encoded", Err: err, TaskID: m.ID}
	}
	return append(head, '\n'), nil
}

// entry returns the state of a new message. One that is overdue is due now: the
// queue keeps the order in which messages became due and were accepted.
func (q *Dispatcher) entry(m task.Outgoing) entry {
	due := q.db.now().UnixMicro()
	if !m.Due.IsZero() {
		due = max(due, m.Due.UnixMicro())
	}
	return entry{
		state: state{Due: due, MaxDeliveries: uint32(q.options.MaxDeliveries)},
		lane:  lane{Queue: Queue{q.backend, m.Queue}, Priority: int8(m.Priority)},
	}
}

func (d *DB) setMessage(b *pebble.Batch, m task.Outgoing, head []byte) error {
	return b.Set(idKey(messageKey, m.ID), append(head, m.Body...), nil)
}

// put adds to b that a message's entry changes from old to next; the zero entry
// is none before. An entry that is alive and not due any more is removed, with
// its message.
func (d *DB) put(b *pebble.Batch, id string, old, next entry) (err error) {
	moved := old.Due != next.Due || old.DeadAt != next.DeadAt
	if moved && old.Due != 0 {
		err = b.Delete(dueKey(old.prefix(), old.Due, id), nil)
	}
	if next.Due == 0 && next.DeadAt == 0 {
		return errors.Join(err, b.Delete(idKey(messageKey, id), nil), b.Delete(idKey(entryKey, id), nil))
	}
	if moved && next.Due != 0 {
		err = errors.Join(err, b.Set(dueKey(next.prefix(), next.Due, id), nil, nil))
	}
	if next.DeadAt != old.DeadAt {
		err = errors.Join(err, b.Set(timeKey(deadKey, next.DeadAt, id), nil, nil))
	}
	return errors.Join(err, b.Set(idKey(entryKey, id), next.encode(), nil))
}

// added makes an entry known that has no claim and is in the database.
func (d *DB) added(entries ...entry) {
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	for _, e := range entries {
		d.add(e)
	}
}

// forget ends any claim on a message that is gone.
func (d *DB) forget(ids ...string) {
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	for _, id := range ids {
		d.endClaim(id)
	}
}

func (d *DB) entry(id string) (e entry, found bool, err error) {
	found, err = d.read(idKey(entryKey, id), func(v []byte) error { return decodeEntry(v, &e) })
	return e, found, err
}

// message returns the message of an entry.
func (d *DB) message(id string) (m message, body []byte, err error) {
	found, err := d.read(idKey(messageKey, id), func(v []byte) error {
		head, rest, _ := bytes.Cut(v, []byte("\n"))
		body = bytes.Clone(rest)
		return json.Unmarshal(head, &m)
	})
	if err == nil && !found {
		err = errors.New("an entry without its message")
	}
	return m, body, err
}

// removeEntry adds to b that the entry, its message and its dead letter go.
func (d *DB) removeEntry(b *pebble.Batch, id string) (found bool, err error) {
	e, found, err := d.entry(id)
	if err != nil || !found {
		return false, err
	}
	err = errors.Join(b.Delete(idKey(messageKey, id), nil), b.Delete(idKey(entryKey, id), nil))
	if e.Due != 0 {
		err = errors.Join(err, b.Delete(dueKey(e.prefix(), e.Due, id), nil))
	}
	if e.DeadAt != 0 {
		err = errors.Join(err, b.Delete(timeKey(deadKey, e.DeadAt, id), nil))
	}
	return true, err
}
