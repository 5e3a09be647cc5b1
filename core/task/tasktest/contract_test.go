package tasktest_test

import (
	"context"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/dispatchtest"
	"github.com/taskgate/taskgate/core/task/storetest"
	"github.com/taskgate/taskgate/core/task/tasktest"
)

func TestStoreInMemoryKeepsItsContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Subject {
		return storetest.Subject{
			Store:         &tasktest.Store{MaxBytes: 1 << 20},
			PayloadBytes:  1 << 20,
			OversizeBytes: 1<<20 + 1,
		}
	})
}

func TestCasesCanShareAStore(t *testing.T) {
	var store tasktest.Store
	storetest.Run(t, func(*testing.T) storetest.Subject { return storetest.Subject{Store: &store} })
}

// queueSubject is a queue whose clock stands still until the suite moves it.
func queueSubject(limits task.Limits, cancelRefs bool) dispatchtest.Subject {
	now := time.Now()
	queue := &tasktest.Queue{
		Queues:     []string{"mail"},
		LimitsOf:   func(string, time.Duration) task.Limits { return limits },
		CancelRefs: cancelRefs,
		Now:        func() time.Time { return now },
	}
	store := &tasktest.Store{MaxBytes: 1 << 20}
	ahead := time.Duration(0)
	clock := func() time.Time { return now.Add(ahead) }
	return dispatchtest.Subject{
		Dispatcher:   tasktest.Atomic{Queue: queue, Store: store},
		Queue:        "mail",
		MissingQueue: "nowhere",
		Receive: func(ctx context.Context) (dispatchtest.Delivery, error) {
			m, err := queue.Receive(ctx)
			return dispatchtest.Delivery{Body: m.Body, Attributes: m.Attributes, Group: m.Group}, err
		},
		Now: clock,
		WaitUntil: func(_ context.Context, until time.Time) error {
			if d := until.Sub(clock()); d > 0 {
				ahead += d
				queue.Advance(d)
			}
			return nil
		},
		Quiet:         5 * time.Millisecond,
		Store:         store,
		OversizeBytes: 1<<20 + 1,
	}
}

func TestQueueInMemoryKeepsItsContract(t *testing.T) {
	bytes, seconds := int64(256<<10), int64(900)
	bounded := tasktest.Unlimited("", 0)
	bounded.MaxMessageBytes, bounded.MaxDelaySeconds = &bytes, &seconds
	immediate := task.Limits{Route: "memory"}
	for name, open := range map[string]func(t *testing.T) dispatchtest.Subject{
		"bounded":     func(*testing.T) dispatchtest.Subject { return queueSubject(bounded, false) },
		"cancel refs": func(*testing.T) dispatchtest.Subject { return queueSubject(bounded, true) },
		"unlimited":   func(*testing.T) dispatchtest.Subject { return queueSubject(tasktest.Unlimited("", 0), false) },
		"immediate":   func(*testing.T) dispatchtest.Subject { return queueSubject(immediate, false) },
	} {
		t.Run(name, func(t *testing.T) { dispatchtest.Run(t, open) })
	}
}

func TestCasesCanShareAQueue(t *testing.T) {
	s := queueSubject(tasktest.Unlimited("", 0), false)
	dispatchtest.Run(t, func(*testing.T) dispatchtest.Subject { return s })
}
