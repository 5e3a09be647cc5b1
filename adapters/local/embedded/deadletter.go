package embedded

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/taskgate/taskgate/core/task"
)

// DeadLetter is a message that had all its deliveries and was never acknowledged.
// The queue keeps it until its task's record expires.
type DeadLetter struct {
	Queue
	ID         string // the task's id
	Body       []byte
	Attributes map[string]string
	Deliveries int
	At         task.Time // when the message became a dead letter
	Reported   bool      // the report of the dead letter was acknowledged
}

// DeadLetters returns at most limit dead letters, the oldest first. It starts after
// the given dead letter; the zero DeadLetter = start with the oldest.
func (d *DB) DeadLetters(ctx context.Context, after DeadLetter, limit int) (letters []DeadLetter, err error) {
	end, err := d.begin(ctx, "list dead letters", "")
	if err != nil {
		return nil, err
	}
	defer end()
	low := []byte{deadKey}
	if after.ID != "" {
		low = append(timeKey(deadKey, after.At.UnixMicro(), after.ID), 0)
	}
	it, err := d.pebble.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: []byte{deadKey + 1}})
	if err != nil {
		return nil, unavailable("list dead letters", "", err)
	}
	for it.First(); it.Valid() && len(letters) < limit; it.Next() {
		letter, found, err := d.deadLetter(it.Key())
		if err != nil {
			return nil, unavailable("list dead letters", letter.ID, errors.Join(err, it.Close()))
		}
		if found {
			letters = append(letters, letter)
		}
	}
	if err := it.Close(); err != nil {
		return nil, unavailable("list dead letters", "", err)
	}
	return letters, nil
}

// deadLetter reads the dead letter that a key of the list names. It returns false
// if the dead letter was removed meanwhile.
func (d *DB) deadLetter(key []byte) (letter DeadLetter, found bool, err error) {
	micros, id := parseTimeKey(key)
	letter = DeadLetter{ID: id, At: at(micros)}
	defer d.locks.rlock(id)()
	e, found, err := d.entry(id)
	if err != nil || !found || e.DeadAt != micros {
		return letter, false, err
	}
	m, body, err := d.message(id)
	letter.Queue, letter.Body, letter.Attributes = e.lane.Queue, body, m.Attributes
	letter.Deliveries, letter.Reported = int(e.Deliveries), e.Due == 0
	return letter, true, err
}
