package tasktest_test

import (
	"testing"

	"github.com/taskgate/taskgate/core/storetest"
	"github.com/taskgate/taskgate/core/tasktest"
)

func TestTheStoreInMemoryKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Subject {
		return storetest.Subject{
			Store:         &tasktest.Store{MaxBytes: 1 << 20},
			PayloadBytes:  1 << 20,
			OversizeBytes: 1<<20 + 1,
		}
	})
}

func TestTheCasesShareAStore(t *testing.T) {
	var store tasktest.Store
	storetest.Run(t, func(*testing.T) storetest.Subject { return storetest.Subject{Store: &store} })
}
