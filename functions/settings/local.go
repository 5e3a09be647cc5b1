package settings

import "github.com/taskgate/taskgate/core/strictjson"

// LocalOptions are the options of taskgate.LocalBackend.
type LocalOptions struct {
	MaxDeliveries int // LOCAL_MAX_DELIVERIES: after so many deliveries a message becomes a dead letter
}

const (
	defaultMaxDeliveries = 20
	maxMaxDeliveries     = 1000 // no task may have more attempts
)

func (o *LocalOptions) fields() fields {
	return fields{
		"LOCAL_MAX_DELIVERIES": strictjson.Nullable(strictjson.Int(&o.MaxDeliveries, 1, maxMaxDeliveries)),
	}
}

func (o *LocalOptions) check(*checker) {}
