package task

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/google/uuid"
)

// NewID returns a fresh task id: a UUID of version 7 (RFC 9562).
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// KeyedID returns the id of the task that the caller enqueues with this
// Idempotency-Key, a UUID of version 8. Because the id follows from the key,
// creating the record is also the check for a duplicate. Each part is hashed with
// its length before it, so that different pairs never hash the same bytes.
func KeyedID(caller, key string) string {
	h := sha256.New()
	for _, part := range []string{caller, key} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	var id uuid.UUID
	copy(id[:], h.Sum(nil))
	id[6] = id[6]&0x0f | 0x80 // version 8
	id[8] = id[8]&0x3f | 0x80 // RFC 9562's variant
	return id.String()
}

// validID reports whether id has the form of this service's ids.
func validID(id string) bool {
	u, err := uuid.Parse(id)
	return err == nil && u.String() == id
}
