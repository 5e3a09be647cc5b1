package embedded

import (
	"encoding/binary"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// The keys, one letter and then:
//
//	r instant id → the record: revision, JSON      in the order of the listing
//	i id         → where it is and when it goes: index
//	q instant id → nothing                         queued, in the order of being due
//	e id         → the queue entry's state: entry
//	m id         → the message: a JSON head, a newline, the body
//	d instant id → nothing                         dead letters, in the order of dying
//
// An instant is microseconds since 1970, as 8 bytes that sort as it does.
const (
	recordKey  = 'r'
	indexKey   = 'i'
	queueKey   = 'q'
	entryKey   = 'e'
	messageKey = 'm'
	deadKey    = 'd'
)

const signBit = 1 << 63

func idKey(kind byte, id string) []byte {
	return append([]byte{kind}, id...)
}

func timeKey(kind byte, micros int64, id string) []byte {
	k := make([]byte, 0, 9+len(id))
	k = append(k, kind)
	k = binary.BigEndian.AppendUint64(k, uint64(micros)^signBit)
	return append(k, id...)
}

func parseTimeKey(k []byte) (micros int64, id string) {
	return int64(binary.BigEndian.Uint64(k[1:9]) ^ signBit), string(k[9:])
}

func at(micros int64) task.Time { return task.At(time.UnixMicro(micros)) }

// index is what is known of a record without reading it.
type index struct {
	EnqueuedAt  int64 // its place in the listing: the record given to Create said so
	DeleteAfter int64
	Revision    uint64
}

// entry is the state of a message in the queue. Instants are in microseconds
// since 1970, and 0 is none: nothing is due, or dies, that early.
type entry struct {
	Due        int64  // its key in the queue; 0 = not in it
	DeadAt     int64  // 0 = alive
	Deliveries uint32 // how often it was handed out while alive
	Reports    uint32 // and since it is dead
}

func (ix index) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 24), uint64(ix.EnqueuedAt))
	b = binary.BigEndian.AppendUint64(b, uint64(ix.DeleteAfter))
	return binary.BigEndian.AppendUint64(b, ix.Revision)
}

func (e entry) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 24), uint64(e.Due))
	b = binary.BigEndian.AppendUint64(b, uint64(e.DeadAt))
	b = binary.BigEndian.AppendUint32(b, e.Deliveries)
	return binary.BigEndian.AppendUint32(b, e.Reports)
}
