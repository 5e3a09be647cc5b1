package embedded_test

import (
	"testing"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/core/storetest"
)

func TestStoreKeepsItsContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		return storetest.Subject{
			Store:         open(t, nil, embedded.Options{}),
			PayloadBytes:  1 << 20, // what the design promises for the local store
			OversizeBytes: embedded.MaxRecordBytes,
		}
	})
}
