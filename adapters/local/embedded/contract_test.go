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
		feed := db.Feed(mail)
		return dispatchtest.Subject{
			Dispatcher: dispatcher(db, 0),
			Queue:      mail.Name,
			Receive: func(ctx context.Context) (dispatchtest.Delivery, error) {
				d, err := next(ctx, feed)
				if err != nil {
					return dispatchtest.Delivery{}, err
				}
				err = db.Acknowledge(ctx, d)
				return dispatchtest.Delivery{Body: d.Body, Attributes: d.Attributes}, err
			},
			Store:         db,
			OversizeBytes: embedded.MaxRecordBytes,
		}
	})
}
