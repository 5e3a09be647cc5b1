package task

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/taskgate/taskgate/core/strictjson"
)

// djangoQueue is the queue_name that Django always sends.
const djangoQueue = "default"

// resolve returns the backend of an alias, and the queue that a queue_name means
// there; "" = the default queue.
func (s *Service) resolve(alias, queue string) (Backend, string, error) {
	b, ok := s.Backends[alias]
	if !ok {
		rule := "must be one of: " + strings.Join(slices.Sorted(maps.Keys(s.Backends)), ", ")
		if why := s.PassedOver[alias]; why != "" {
			rule += "; " + why
		}
		return b, "", invalid(UnknownBackend, "backend", rule)
	}
	listed := slices.Contains(b.Queues, queue)
	switch {
	case queue == "", queue == djangoQueue && len(b.Queues) > 0 && !listed:
		queue = b.DefaultQueue
	case queue == b.DefaultQueue, listed:
	case len(b.Queues) > 0:
		return b, "", invalid(UnknownQueue, "queue_name", "must be in the backend's QUEUES: "+strings.Join(b.Queues, ", "))
	}
	if queue == "" {
		return b, "", invalid(UnknownQueue, "queue_name", "is required: the backend has no default queue")
	}
	if b.CheckQueue != nil {
		if rule := b.CheckQueue(queue); rule != "" {
			return b, "", invalid(UnknownQueue, "queue_name", rule)
		}
	}
	return b, queue, nil
}

// queueFor returns the physical queue for a priority. The named queue has the
// threshold 0, unless a priority queue has it. queueFor chooses the queue with the
// greatest threshold that is at most the priority. If all thresholds are greater
// than the priority, it chooses the queue with the lowest threshold.
func (b Backend) queueFor(queue string, priority int) string {
	others := b.PriorityQueues[queue]
	if len(others) == 0 {
		return queue
	}
	thresholds := slices.Sorted(maps.Keys(others))
	if i, there := slices.BinarySearch(thresholds, 0); !there {
		thresholds = slices.Insert(thresholds, i, 0)
	}
	chosen := thresholds[0]
	for _, threshold := range thresholds {
		if threshold <= priority {
			chosen = threshold
		}
	}
	return cmp.Or(others[chosen], queue)
}

// check returns every rule that the request breaks at its queue, at this time.
func check(req Request, b Backend, queue string, limits Limits, due Time, now time.Time) error {
	var errs []strictjson.FieldError
	var kinds []Kind
	broken := func(k Kind, member, rule string, args ...any) {
		kinds = append(kinds, k)
		errs = append(errs, strictjson.FieldError{Pointer: "/" + member, Detail: fmt.Sprintf(rule, args...)})
	}
	if limits.CheckTaskName != nil {
		if rule := limits.CheckTaskName(req.TaskName); rule != "" {
			broken(InvalidTask, "task_name", "%s", rule)
		}
	}
	if req.ID != "" && req.Key != "" {
		broken(InvalidTask, "id", "cannot be given together with an Idempotency-Key: leave one of them out")
	}
	if req.Priority != 0 && !limits.SupportsPriority && len(b.PriorityQueues[queue]) == 0 {
		broken(PriorityUnsupported, "priority", "must be 0: this queue has no priorities, and OPTIONS.PRIORITY_QUEUES names none for it")
	}
	if req.MaxAttempts != 0 && b.Payload == PayloadDjango {
		broken(MaxAttemptsTooHigh, "max_attempts", "must be left out: consumers of PAYLOAD django-tasks-cloud do not report, so attempts cannot be counted")
	}
	if due.After(now) {
		member := "run_after"
		if req.DelaySeconds != nil {
			member = "delay_seconds"
		}
		if !limits.SupportsDefer {
			broken(RunAfterUnsupported, member, "this queue cannot delay a message")
		} else if most := limits.MaxDelaySeconds; most != nil && due.Sub(now) > time.Duration(*most)*time.Second {
			broken(RunAfterUnsupported, member, "this queue delays a message by %d seconds at most", *most)
		}
	}
	switch {
	case req.Group == "":
	case !limits.GroupMode.Supported():
		broken(GroupUnsupported, "group", "this queue has no groups")
	case limits.CheckGroup != nil:
		if rule := limits.CheckGroup(req.Group); rule != "" {
			broken(InvalidTask, "group", "%s", rule)
		}
	}
	if most := limits.MaxDeliveries; most != nil && int64(req.MaxAttempts) > *most {
		broken(MaxAttemptsTooHigh, "max_attempts", "this queue delivers a message %d times at most", *most)
	}
	if !req.ExpiresAt.IsZero() && !req.ExpiresAt.After(latest(due, At(now)).Time) {
		broken(InvalidTask, "expires_at", "must be in the future, and after run_after")
	}
	if len(errs) == 0 {
		return nil
	}
	kind := kinds[0]
	if slices.ContainsFunc(kinds, func(k Kind) bool { return k != kind }) {
		kind = InvalidTask
	}
	return &Error{Kind: kind, Msg: "the task breaks the rules listed in errors", Fields: errs}
}

func invalid(k Kind, member, rule string) *Error {
	return &Error{Kind: k, Msg: member + " " + rule, Fields: []strictjson.FieldError{{Pointer: "/" + member, Detail: rule}}}
}

// checkPayload refuses what the store could not hold.
func (s *Service) checkPayload(req Request) error {
	metadata, err := encode(req.Metadata)
	if err != nil {
		return &Error{Kind: Internal, Msg: "cannot encode the metadata", Err: err}
	}
	if size := len(req.Args) + len(req.Kwargs) + len(metadata); size > s.MaxPayloadBytes {
		return Errorf(PayloadTooLarge, "args, kwargs and metadata have %d bytes together, and the store takes %d", size, s.MaxPayloadBytes)
	}
	return nil
}
