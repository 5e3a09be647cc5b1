package dispatchtest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

var refusalCases = []Case{
	{"a request that has ended is Unavailable at once", honoursContext},
	{"a missing queue is Unavailable and named", namesMissingQueue},
}

// soon is how long a call may take whose request has ended before it began.
const soon = 2 * time.Second

// ended returns contexts of requests that are over, and what to call them.
func ended(ctx context.Context) (map[string]context.Context, context.CancelFunc) {
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	late, cancelLate := context.WithDeadline(ctx, time.Now().Add(-time.Second))
	return map[string]context.Context{"a cancelled request": cancelled, "a request past its deadline": late}, cancelLate
}

func honoursContext(ctx context.Context, s Subject) error {
	over, cancel := ended(ctx)
	defer cancel()
	for name, request := range over {
		if later, ok := s.secondRoute(ctx); ok { // each way must notice, also where what it looks up is known
			m := s.message(ctx, later)
			_, err := s.Dispatcher.Dispatch(request, m)
			if err := unavailable("Dispatch by "+m.Route+" for "+name, err); err != nil {
				return err
			}
		}
		m := s.message(ctx, 0)
		start := time.Now()
		_, err := s.Dispatcher.Dispatch(request, m)
		if err := unavailable("Dispatch for "+name, err); err != nil {
			return err
		}
		err = s.Dispatcher.Cancel(request, sent(m, task.Receipt{}))
		if s.cancels(ctx) == nil {
			if err := unavailable("Cancel for "+name, err); err != nil {
				return err
			}
		}
		if took := time.Since(start); took > soon {
			return fmt.Errorf("the calls for %s took %v", name, took)
		}
	}
	return nil
}

func namesMissingQueue(ctx context.Context, s Subject) error {
	if s.MissingQueue == "" {
		return inapplicable("the target takes any queue")
	}
	m := s.message(ctx, 0)
	m.Queue = s.MissingQueue
	m.Route = s.Dispatcher.Limits(ctx, m.Queue, 0).Route
	_, err := s.Dispatcher.Dispatch(ctx, m)
	if err := named(s.MissingQueue, err); err != nil {
		return err
	}
	return s.nothing(ctx, m)
}

func named(queue string, err error) error {
	if err := unavailable("a missing queue", err); err != nil {
		return err
	}
	if !strings.Contains(err.Error(), queue) {
		return fmt.Errorf("a missing queue: the error does not name %q: %w", queue, err)
	}
	return nil
}
