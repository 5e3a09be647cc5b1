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
//	r instant id      → a record: its revision, then JSON; by its time in the listing
//	i id              → the index of a record: where the record is, when it expires
//	w queue priority instant id → empty; a waiting message, by its due time
//	e id              → the entry of a message: its state
//	m id              → a message: a JSON head, a newline, the body
//	d instant id      → empty; a dead letter, by the time when it became one
//	x instant id      → empty; a dead letter, by the time when its report is due
//	v                 → the version of this layout
//
// An instant is microseconds since 1970 in 8 bytes. The bytes sort in the order of
// the instants.
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

// dueKey returns the prefix, the instant and the id as one key.
func dueKey(prefix []byte, micros int64, id string) []byte {
	k := make([]byte, 0, len(prefix)+8+len(id))
	k = append(k, prefix...)
	k = binary.BigEndian.AppendUint64(k, uint64(micros)^signBit)
	return append(k, id...)
}

func parseTimeKey(k []byte) (micros int64, id string) {
	return parseDueKey(k, 1)
}

// parseDueKey reads the instant and the id of a key. prefix is the length of the
// key's prefix.
func parseDueKey(k []byte, prefix int) (micros int64, id string) {
	return int64(binary.BigEndian.Uint64(k[prefix:]) ^ signBit), string(k[prefix+8:])
}

// lane names the waiting messages of one queue that have one priority. The keys of
// a lane share a prefix, and they sort by the due time.
type lane struct {
	Queue
	Priority int8
}

// prefix returns the start of the lane's keys. The length of each name comes before
// the name, so the keys of different queues never mix. Within a queue, larger
// priorities sort first.
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
			return lane{}, errors.New("the key of a waiting message has no queue name")
		}
		n := int(binary.BigEndian.Uint16(rest))
		*name, rest = string(rest[2:2+n]), rest[2+n:]
	}
	if len(rest) == 0 {
		return lane{}, errors.New("the key of a waiting message has no priority")
	}
	l.Priority = int8(math.MaxInt8 - int(rest[0]))
	return l, nil
}

// successor returns the first key that sorts after all keys with this prefix.
func successor(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; ; i-- { // the loop ends, because the first byte is a letter
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
}

func at(micros int64) task.Time { return task.At(time.UnixMicro(micros)) }

// index holds the fields of a record that are needed without reading the record.
// Instants are in microseconds since 1970.
type index struct {
	EnqueuedAt  int64 // a part of the record's key; see [task.Position]
	DeleteAfter int64
	Revision    uint64
}

func (ix index) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 24), uint64(ix.EnqueuedAt))
	b = binary.BigEndian.AppendUint64(b, uint64(ix.DeleteAfter))
	return binary.BigEndian.AppendUint64(b, ix.Revision)
}

// entry is the state of a message. Instants are in microseconds since 1970; 0 = none.
type entry struct {
	state
	lane lane
}

// state is the part of an entry that has a fixed size.
type state struct {
	Due           int64  // when the message, or the report of a dead letter, is due; 0 = never again
	HeldUntil     int64  // the end of the running attempt's lease; 0 = none known
	DeadAt        int64  // when the message became a dead letter; 0 = it is not one
	RefusedAt     int64  // when a worker last refused the message because it was busy
	Deliveries    uint32 // the number of deliveries of the message
	MaxDeliveries uint32 // the number of deliveries after which the message is a dead letter
	Reports       uint32 // the number of deliveries of the dead letter's report
	Refusals      uint32 // how often the worker refused the message while it accepted others
}

const stateBytes = 4*8 + 4*4

func (e entry) encode() []byte {
	b, _ := binary.Append(make([]byte, 0, stateBytes+64), binary.BigEndian, e.state) // encoding a struct of fixed size never fails
	return append(b, e.lane.prefix()[1:]...)
}

func decodeEntry(value []byte, e *entry) (err error) {
	if err := decode(value, &e.state); err != nil {
		return err
	}
	e.lane, err = parseLane(value[stateBytes-1:])
	return err
}

// prefix returns the start of the key by which the entry is found when it is due.
func (e entry) prefix() []byte {
	if e.DeadAt != 0 {
		return []byte{reportKey}
	}
	return e.lane.prefix()
}
