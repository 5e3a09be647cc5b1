package embedded_test

import (
	"context"
	"testing"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/core/task/dispatchtest"
	"github.com/taskgate/taskgate/core/task/storetest"
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

func TestDispatcherKeepsItsContract(t *testing.T) {
	dispatchtest.Run(t, func(t *testing.T) dispatchtest.Subject {
		db := open(t, nil, embedded.Options{})
		return dispatchtest.Subject{
			Dispatcher: db.Dispatcher(0),
			Queue:      "mail",
			Receive: func(ctx context.Context) (dispatchtest.Delivery, error) {
				ds, err := db.Claim(ctx, 1)
				if err != nil {
					return dispatchtest.Delivery{}, err
				}
				err = db.Acknowledge(ctx, ds[0])
				return dispatchtest.Delivery{Body: ds[0].Body, Attributes: ds[0].Attributes}, err
			},
			Store:         db,
			OversizeBytes: embedded.MaxRecordBytes,
		}
	})
}
