package embedded

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// The keys. Each is one letter and then:
//
//	r instant id      → the record: its revision, then JSON; in the order of the listing
//	i id              → where the record is and when its life ends: index
//	w queue priority instant id → nothing; a waiting message, in the order of being due
//	e id              → the state of a message: entry
//	m id              → the message: a JSON head, a newline, the body
//	d instant id      → nothing; a dead letter, in the order of dying
//	x instant id      → nothing; a dead letter whose report is due at the instant
//	v                 → the version of this layout
//
// An instant is microseconds since 1970, as 8 bytes that sort as it does.
const (
	recordKey  = 'r'
	indexKey   = 'i'
	waitingKey = 'w'
	entryKey   = 'e'
	messageKey = 'm'
	deadKey    = 'd'
	reportKey  = 'x'
	versionKey = 'v'
)

const signBit = 1 << 63

func idKey(kind byte, id string) []byte {
	return append([]byte{kind}, id...)
}

func timeKey(kind byte, micros int64, id string) []byte {
	return dueKey([]byte{kind}, micros, id)
}

// dueKey returns the key of an instant and an id in the index with this prefix.
func dueKey(prefix []byte, micros int64, id string) []byte {
	k := make([]byte, 0, len(prefix)+8+len(id))
	k = append(k, prefix...)
	k = binary.BigEndian.AppendUint64(k, uint64(micros)^signBit)
	return append(k, id...)
}

func parseTimeKey(k []byte) (micros int64, id string) {
	return parseDueKey(k, 1)
}

// parseDueKey reads a key of an index whose prefix has so many bytes.
func parseDueKey(k []byte, prefix int) (micros int64, id string) {
	return int64(binary.BigEndian.Uint64(k[prefix:]) ^ signBit), string(k[prefix+8:])
}

// lane names one index of waiting messages: those of one queue with one
// priority, in the order of being due.
type lane struct {
	Queue
	Priority int8
}

// prefix begins the keys of the lane. Each name follows its length, so that no
// queue's keys lie among another's; within a queue, larger priorities come first.
func (l lane) prefix() []byte {
	p := []byte{waitingKey}
	for _, name := range []string{l.Backend, l.Name} {
		p = binary.BigEndian.AppendUint16(p, uint16(len(name)))
		p = append(p, name...)
	}
	return append(p, byte(math.MaxInt8-int(l.Priority)))
}

// parseLane returns the lane of a waiting message's key.
func parseLane(k []byte) (l lane, err error) {
	rest := k[1:]
	for _, name := range []*string{&l.Backend, &l.Name} {
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			return lane{}, errors.New("a waiting message's key names no queue")
		}
		n := int(binary.BigEndian.Uint16(rest))
		*name, rest = string(rest[2:2+n]), rest[2+n:]
	}
	if len(rest) == 0 {
		return lane{}, errors.New("a waiting message's key has no priority")
	}
	l.Priority = int8(math.MaxInt8 - int(rest[0]))
	return l, nil
}

// successor returns the first key that does not begin with the prefix.
func successor(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; ; i-- { // ends: the first byte is a letter
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
}

func at(micros int64) task.Time { return task.At(time.UnixMicro(micros)) }

// index is what is known of a record without reading it.
type index struct {
	EnqueuedAt  int64 // its place in the listing: the record given to Create said so
	DeleteAfter int64
	Revision    uint64
}

func (ix index) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 24), uint64(ix.EnqueuedAt))
	b = binary.BigEndian.AppendUint64(b, uint64(ix.DeleteAfter))
	return binary.BigEndian.AppendUint64(b, ix.Revision)
}

// entry is the state of a message. Instants are in microseconds since 1970, and
// 0 is none: nothing is due, or dies, that early.
type entry struct {
	state
	lane lane
}

// state is the part of an entry that has a fixed size.
type state struct {
	Due           int64  // when the message, or the report of a dead letter, may be handed out; 0 = never again
	HeldUntil     int64  // the end of the lease of the attempt that runs, as far as it is known
	DeadAt        int64  // 0 = alive
	RefusedAt     int64  // when a worker was last too busy to take it
	Deliveries    uint32 // how often it was handed out while alive
	MaxDeliveries uint32 // how often it may be
	Reports       uint32 // how often it was handed out since it is dead
	Refusals      uint32 // how often a worker that took others was too busy for it
}

const stateBytes = 4*8 + 4*4

func (e entry) encode() []byte {
	b, _ := binary.Append(make([]byte, 0, stateBytes+64), binary.BigEndian, e.state) // a fixed size always encodes
	return append(b, e.lane.prefix()[1:]...)
}

func decodeEntry(value []byte, e *entry) (err error) {
	if err := decode(value, &e.state); err != nil {
		return err
	}
	e.lane, err = parseLane(value[stateBytes-1:])
	return err
}

// prefix begins the keys of the index that the entry is in.
func (e entry) prefix() []byte {
	if e.DeadAt != 0 {
		return []byte{reportKey}
	}
	return e.lane.prefix()
}
