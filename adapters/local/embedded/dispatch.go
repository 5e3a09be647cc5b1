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

// Dispatcher is the queue as one backend fills it: a [task.AtomicDispatcher].
// All backends share one queue; they differ in how often they deliver.
type Dispatcher struct {
	db            *DB
	maxDeliveries int64
}

// Dispatcher returns the dispatcher of a backend whose messages are delivered
// at most maxDeliveries times; 0 = [DefaultMaxDeliveries].
func (d *DB) Dispatcher(maxDeliveries int) *Dispatcher {
	if maxDeliveries <= 0 {
		maxDeliveries = DefaultMaxDeliveries
	}
	return &Dispatcher{db: d, maxDeliveries: int64(maxDeliveries)}
}

// Limits implements [task.Dispatcher].
func (q *Dispatcher) Limits(context.Context, string, time.Duration) task.Limits {
	maxMessage, maxDeliveries := int64(MaxMessageBytes), q.maxDeliveries
	return task.Limits{
		Route:           Route,
		SupportsDefer:   true,
		SupportsCancel:  true,
		MaxMessageBytes: &maxMessage,
		MaxDeliveries:   &maxDeliveries,
	}
}

// message is the head of a stored message; the body follows it.
type message struct {
	Queue         string            `json:"queue"`
	Attributes    map[string]string `json:"attributes,omitempty"`
	MaxDeliveries int64             `json:"max_deliveries"`
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
	due, err := q.db.enqueue(b, m, head)
	if err == nil {
		err = q.db.commit(b, true)
	}
	if err != nil {
		return task.Receipt{}, unavailable("dispatch", m.ID, err)
	}
	q.db.queue.added(due)
	return task.Receipt{}, nil
}

// CreateAndDispatch implements [task.AtomicDispatcher]: all entries that can be
// accepted are one commit.
func (q *Dispatcher) CreateAndDispatch(ctx context.Context, entries []task.Entry) []task.EntryResult {
	creations := make([]*creation, len(entries))
	for i := range entries {
		e := &entries[i]
		creations[i] = &creation{Record: e.Record, message: &e.Message}
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
	q.db.queue.forget(s.ID)
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
	head, err := json.Marshal(message{m.Queue, m.Attributes, q.maxDeliveries})
	if err != nil {
		return nil, &task.Error{Kind: task.MessageRejected, Msg: "an attribute cannot be encoded", Err: err, TaskID: m.ID}
	}
	return append(head, '\n'), nil
}

// enqueue adds m to b. A message that is overdue is due now: the queue keeps
// the order in which messages became due and were accepted.
func (d *DB) enqueue(b *pebble.Batch, m task.Outgoing, head []byte) (due int64, err error) {
	due = d.now().UnixMicro()
	if !m.Due.IsZero() {
		due = max(due, m.Due.UnixMicro())
	}
	return due, errors.Join(
		b.Set(idKey(messageKey, m.ID), append(head, m.Body...), nil),
		b.Set(idKey(entryKey, m.ID), entry{Due: due}.encode(), nil),
		b.Set(timeKey(queueKey, due, m.ID), nil, nil))
}

func (d *DB) entry(id string) (e entry, found bool, err error) {
	found, err = d.read(idKey(entryKey, id), func(v []byte) error { return decode(v, &e) })
	return e, found, err
}

// message returns the message of an entry, and how often it may be delivered.
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

// removeEntry adds the removal of the entry and its message to b.
func (d *DB) removeEntry(b *pebble.Batch, id string) (found bool, err error) {
	e, found, err := d.entry(id)
	if err != nil || !found {
		return false, err
	}
	err = errors.Join(b.Delete(idKey(messageKey, id), nil), b.Delete(idKey(entryKey, id), nil))
	if e.Due != 0 {
		err = errors.Join(err, b.Delete(timeKey(queueKey, e.Due, id), nil))
	}
	if e.DeadAt != 0 {
		err = errors.Join(err, b.Delete(timeKey(deadKey, e.DeadAt, id), nil))
	}
	return true, err
}
