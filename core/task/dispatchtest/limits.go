package dispatchtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

var limitCases = []Case{
	{"limits never fail and name a route", limitsNameRoute},
	{"a message as large as the limit arrives and a larger one is refused for good", keepsSizeLimit},
	{"the longest delay is accepted and a longer one refused for good", keepsDelayLimit},
	{"a group arrives in order or is refused for good", keepsGroupLimit},
}

func limitsNameRoute(ctx context.Context, s Subject) error {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for _, after := range []time.Duration{0, time.Microsecond, delay, time.Hour, 365 * 24 * time.Hour} {
		for _, queue := range []string{s.Queue, s.MissingQueue} {
			if s.Dispatcher.Limits(ctx, queue, after).Route == "" {
				return fmt.Errorf("no route to queue %q after %v", queue, after)
			}
		}
		if s.Dispatcher.Limits(ended, s.Queue, after).Route == "" {
			return errors.New("no route once the request has ended")
		}
	}
	return nil
}

// keepsSizeLimit sends the attributes too, as the service does: a target may
// count them.
func keepsSizeLimit(ctx context.Context, s Subject) error {
	limit := s.Dispatcher.Limits(ctx, s.Queue, 0).MaxMessageBytes
	if limit == nil {
		return inapplicable("the target's limit is not known")
	}
	large := sized(s.message(ctx, 0), int(*limit))
	if err := s.dispatch(ctx, large); err != nil {
		return fmt.Errorf("at the limit: %w", err)
	}
	if err := s.unchanged(ctx, large); err != nil {
		return fmt.Errorf("at the limit: %w", err)
	}
	larger := sized(s.message(ctx, 0), int(*limit)+1)
	_, err := s.Dispatcher.Dispatch(ctx, larger)
	if err := refused("a message one byte above the limit", err); err != nil {
		return err
	}
	return s.nothing(ctx, larger)
}

func keepsDelayLimit(ctx context.Context, s Subject) error {
	limits := s.Dispatcher.Limits(ctx, s.Queue, delay)
	longest := time.Duration(0)
	if limits.SupportsDefer {
		if limits.MaxDelaySeconds == nil {
			return inapplicable("the target's limit is not known")
		}
		longest = time.Duration(*limits.MaxDelaySeconds) * time.Second
		m := s.message(ctx, longest)
		m.Due = task.At(s.now().Truncate(time.Microsecond).Add(longest)) // not a fraction longer
		receipt, err := s.Dispatcher.Dispatch(ctx, m)
		if err != nil {
			return fmt.Errorf("at the limit: %w", err)
		}
		if err := s.nothing(ctx, m); err != nil {
			return fmt.Errorf("at the limit: %w", err)
		}
		if err := s.Dispatcher.Cancel(ctx, sent(m, receipt)); err != nil { // leaves no litter
			return fmt.Errorf("Cancel: %w", err)
		}
	}
	over := longest + time.Minute
	if longer := s.Dispatcher.Limits(ctx, s.Queue, over).MaxDelaySeconds; limits.SupportsDefer && (longer == nil || *longer > *limits.MaxDelaySeconds) {
		return inapplicable("a longer delay goes another way")
	}
	m := s.message(ctx, over)
	_, err := s.Dispatcher.Dispatch(ctx, m)
	if err := refused("a delay above the limit", err); err != nil {
		return err
	}
	return s.nothing(ctx, m)
}

func keepsGroupLimit(ctx context.Context, s Subject) error {
	limits := s.Dispatcher.Limits(ctx, s.Queue, 0)
	var ms []task.Outgoing
	for i := range 5 {
		m := s.message(ctx, 0)
		m.Group = "customer-1"
		m.Body = body(m.ID, fmt.Sprintf(`"args":[%d],"kwargs":{}`, i))
		ms = append(ms, m)
	}
	for _, group := range []string{"customer 17", "größe"} {
		if limits.CheckGroup == nil || limits.CheckGroup(group) == "" {
			continue
		}
		m := s.message(ctx, 0)
		m.Group = group
		_, err := s.Dispatcher.Dispatch(ctx, m)
		if err := refused(fmt.Sprintf("a message with the group %q", group), err); err != nil {
			return err
		}
		if err := s.nothing(ctx, m); err != nil {
			return err
		}
	}
	if !limits.GroupMode.Supported() {
		_, err := s.Dispatcher.Dispatch(ctx, ms[0])
		if err := refused("a message with a group", err); err != nil {
			return err
		}
		return s.nothing(ctx, ms[0])
	}
	if err := s.dispatch(ctx, ms...); err != nil {
		return err
	}
	if limits.GroupMode == task.GroupFairness {
		in, err := s.expect(ctx, ms...)
		if err != nil {
			return err
		}
		for _, m := range ms {
			if got := in[m.ID][0].Group; got != m.Group {
				return fmt.Errorf("the group arrived as %q and was %q", got, m.Group)
			}
		}
		return nil
	}
	for i := range ms {
		in := inbox{}
		some := func() bool { return len(in) > 0 }
		if err := s.receive(ctx, s.patience(), in, some, ms...); err != nil {
			return err
		}
		got := in[ms[i].ID]
		if len(got) == 0 {
			return fmt.Errorf("message %d of the group did not come in its turn", i+1)
		}
		if got[0].Group != ms[i].Group {
			return fmt.Errorf("the group arrived as %q and was %q", got[0].Group, ms[i].Group)
		}
	}
	return nil
}
