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

// Route is the only route of the local queue.
const Route = "local"

// MaxMessageBytes is the maximum size of a message's body.
const MaxMessageBytes = 2 << 20

// DefaultMaxDeliveries is how many deliveries a message has before it becomes a
// dead letter, unless the backend configures another number.
const DefaultMaxDeliveries = 20

// The optional ports of a dispatcher that the local queue implements.
var (
	_ task.AtomicDispatcher = (*Dispatcher)(nil)
	_ task.Receiver         = (*Dispatcher)(nil)
)

// Dispatcher puts messages into the queues of one backend.
type Dispatcher struct {
	db      *DB
	backend string
	options DispatcherOptions
}

// DispatcherOptions are the options of a [Dispatcher]. The zero value has the defaults.
type DispatcherOptions struct {
	MaxDeliveries int  // maximum number of deliveries of a message; 0 = [DefaultMaxDeliveries]
	Receive       bool // workers fetch the messages by Receive; nothing is pushed
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

// message is the head of a stored message. The body follows the head.
type message struct {
	Attributes map[string]string `json:"attributes,omitempty"`
}

// Dispatch implements [task.Dispatcher]. If the queue or the dead letters already
// have a message with this id, Dispatch drops the new one and returns no error.
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

// CreateAndDispatch implements [task.AtomicDispatcher]. It stores all valid entries
// in one commit.
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

// Cancel implements [task.Dispatcher]. It also removes a message that is being
// delivered; that delivery is then the last one.
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

// head checks m and returns the encoded head, which is stored before the body.
func (q *Dispatcher) head(m task.Outgoing) ([]byte, error) {
	if len(m.Body) > MaxMessageBytes {
		return nil, task.Errorf(task.MessageTooLarge, "the message has %d bytes; the local queue accepts at most %d", len(m.Body), MaxMessageBytes)
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

// entry returns the state of a new message. A message whose due time has passed is
// due now. It is therefore delivered after the messages that were due before.
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

// put adds the change of a message's entry from old to next to b. For a new entry,
// old is the zero entry. If next is neither due nor a dead letter, put removes the
// entry and its message.
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

// added tells the feeds about committed entries that have no claim.
func (d *DB) added(entries ...entry) {
	d.queue.mu.Lock()
	defer d.queue.mu.Unlock()
	for _, e := range entries {
		d.add(e)
	}
}

// forget ends the claims on removed messages.
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

// message reads the message of an entry.
func (d *DB) message(id string) (m message, body []byte, err error) {
	found, err := d.read(idKey(messageKey, id), func(v []byte) error {
		head, rest, _ := bytes.Cut(v, []byte("\n"))
		body = bytes.Clone(rest)
		return json.Unmarshal(head, &m)
	})
	if err == nil && !found {
		err = errors.New("the queue has the entry but not its message")
	}
	return m, body, err
}

// removeEntry adds the removal of the entry, its message and its dead letter to b.
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
