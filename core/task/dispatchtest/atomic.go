package dispatchtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

var atomicCases = []Case{
	{"create-and-dispatch stores the record and delivers the message", atomicDoesBoth},
	{"create-and-dispatch of an id that is there changes and sends nothing", atomicCreatesOnce},
	{"create-and-dispatch of a refused message stores nothing", atomicRefusedMessage},
	{"create-and-dispatch of an oversize record sends nothing", atomicOversizeRecord},
	{"of 32 concurrent create-and-dispatch one wins and only its message arrives", atomicOneWins},
	{"create-and-dispatch of a request that has ended is Unavailable and does both or neither", atomicHonoursContext},
	{"a message of create-and-dispatch is due and cancelled like any other", atomicCancels},
}

func (s Subject) atomic() (task.AtomicDispatcher, error) {
	a, ok := s.Dispatcher.(task.AtomicDispatcher)
	if !ok || s.Store == nil {
		return nil, inapplicable("the dispatcher has no store in common")
	}
	return a, nil
}

// record returns the record that goes with m.
func (s Subject) record(m task.Outgoing) *task.Record {
	at := task.At(s.now())
	return &task.Record{
		ID: m.ID, TaskName: "app.tasks.send", Status: task.Ready, EnqueuedAt: at, Args: `[1.10]`, Kwargs: `{}`,
		Backend: "default", QueueName: m.Queue, RunAfter: m.Due, Owner: "dispatchtest",
		Dispatch: task.Dispatch{Target: "test", Route: m.Route}, DeleteAfter: at.Plus(24 * time.Hour),
	}
}

// tryCreateAndDispatch does so for one entry.
func tryCreateAndDispatch(ctx context.Context, a task.AtomicDispatcher, r *task.Record, m task.Outgoing) (existing *task.Record, receipt task.Receipt, err error) {
	results := a.CreateAndDispatch(ctx, []task.Entry{{Record: r, Message: m}})
	if len(results) != 1 {
		return nil, task.Receipt{}, fmt.Errorf("CreateAndDispatch of one entry has %d results", len(results))
	}
	return results[0].Existing, results[0].Receipt, results[0].Err
}

// createAndDispatch does so for a record that must be new.
func createAndDispatch(ctx context.Context, a task.AtomicDispatcher, r *task.Record, m task.Outgoing) (task.Receipt, error) {
	existing, receipt, err := tryCreateAndDispatch(ctx, a, r, m)
	if err != nil {
		return receipt, fmt.Errorf("CreateAndDispatch: %w", err)
	}
	if existing != nil {
		return receipt, fmt.Errorf("CreateAndDispatch of a new id says that it exists: %+v", *existing)
	}
	return receipt, nil
}

// stored checks that the store has r's record: its task name stands for the
// rest, which is for the store's own suite.
func (s Subject) stored(ctx context.Context, r *task.Record) error {
	got, err := s.Store.Get(ctx, r.ID)
	if err != nil {
		return fmt.Errorf("Get: %w", err)
	}
	if got.TaskName != r.TaskName || got.Args != r.Args || r.Revision == "" || got.Revision != r.Revision {
		return fmt.Errorf("the store has %+v, want %+v", *got, *r)
	}
	return nil
}

func (s Subject) notStored(ctx context.Context, id string) error {
	if r, err := s.Store.Get(ctx, id); task.KindOf(err) != task.NotStored {
		return fmt.Errorf("there is a record where there should be none: %+v, %v", r, err)
	}
	return nil
}

func atomicDoesBoth(ctx context.Context, s Subject) error {
	a, err := s.atomic()
	if err != nil {
		return err
	}
	m := s.message(ctx, 0)
	r := s.record(m)
	if _, err := createAndDispatch(ctx, a, r, m); err != nil {
		return err
	}
	if err := s.stored(ctx, r); err != nil {
		return err
	}
	r.CancelRequested = true
	if err := s.Store.Replace(ctx, r); err != nil {
		return fmt.Errorf("Replace: %w", err)
	}
	return s.unchanged(ctx, m)
}

func atomicCreatesOnce(ctx context.Context, s Subject) error {
	a, err := s.atomic()
	if err != nil {
		return err
	}
	m := s.message(ctx, 0)
	r := s.record(m)
	if _, err := s.Store.Create(ctx, r); err != nil {
		return fmt.Errorf("Create: %w", err)
	}
	second := s.record(m)
	second.TaskName = "another"
	existing, _, err := tryCreateAndDispatch(ctx, a, second, m)
	if err != nil {
		return fmt.Errorf("CreateAndDispatch of an id that is there: %w", err)
	}
	if existing == nil || existing.TaskName != r.TaskName || existing.Revision != r.Revision {
		return fmt.Errorf("CreateAndDispatch of an id that is there finds %+v, want %+v", existing, *r)
	}
	if err := s.stored(ctx, r); err != nil {
		return err
	}
	return s.nothing(ctx, m)
}

// atomicRefusedMessage tries whatever refusals the target has.
func atomicRefusedMessage(ctx context.Context, s Subject) error {
	a, err := s.atomic()
	if err != nil {
		return err
	}
	var bad []task.Outgoing
	limits := s.Dispatcher.Limits(ctx, s.Queue, 0)
	if limits.MaxMessageBytes != nil {
		bad = append(bad, sized(s.message(ctx, 0), int(*limits.MaxMessageBytes)+1))
	}
	if !limits.GroupMode.Supported() {
		m := s.message(ctx, 0)
		m.Group = "group"
		bad = append(bad, m)
	}
	if s.MissingQueue != "" {
		m := s.message(ctx, 0)
		m.Queue = s.MissingQueue
		bad = append(bad, m)
	}
	if len(bad) == 0 {
		return inapplicable("the target refuses nothing")
	}
	for _, m := range bad {
		_, _, err := tryCreateAndDispatch(ctx, a, s.record(m), m)
		if k := task.KindOf(err); k != task.Unavailable && !k.Final() {
			return fmt.Errorf("CreateAndDispatch of a message that is refused: %v", err)
		}
		if err := s.notStored(ctx, m.ID); err != nil {
			return err
		}
	}
	return s.nothing(ctx, bad...)
}

func atomicOversizeRecord(ctx context.Context, s Subject) error {
	a, err := s.atomic()
	if err != nil {
		return err
	}
	if s.OversizeBytes == 0 {
		return inapplicable("the store's bound is not known")
	}
	m := s.message(ctx, 0)
	r := s.record(m)
	r.Args = `["` + strings.Repeat("x", s.OversizeBytes) + `"]`
	if _, _, err := tryCreateAndDispatch(ctx, a, r, m); task.KindOf(err) != task.Oversize {
		return fmt.Errorf("CreateAndDispatch of a too large record: want %s, got %v", task.Oversize, err)
	}
	if err := s.notStored(ctx, m.ID); err != nil {
		return err
	}
	return s.nothing(ctx, m)
}

func atomicOneWins(ctx context.Context, s Subject) error {
	a, err := s.atomic()
	if err != nil {
		return err
	}
	const n = 32
	first := s.message(ctx, 0)
	var ms [n]task.Outgoing
	var found [n]*task.Record
	var failed [n]error
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		ms[i] = first
		ms[i].Body = body(first.ID, fmt.Sprintf(`"args":[%d],"kwargs":{}`, i))
		all.Go(func() {
			<-start
			found[i], _, failed[i] = tryCreateAndDispatch(ctx, a, s.record(ms[i]), ms[i])
		})
	}
	close(start)
	all.Wait()
	if err := errors.Join(failed[:]...); err != nil {
		return fmt.Errorf("CreateAndDispatch: %w", err)
	}
	var winners []task.Outgoing
	for i := range n {
		if found[i] == nil {
			winners = append(winners, ms[i])
		}
	}
	if len(winners) != 1 {
		return fmt.Errorf("%d of %d concurrent calls say that they created", len(winners), n)
	}
	if err := s.unchanged(ctx, winners[0]); err != nil {
		return err
	}
	in := inbox{} // a repeat of the winner's is no harm, a loser's would be
	never := func() bool { return false }
	if err := s.receive(ctx, orElse(s.Quiet, 100*time.Millisecond), in, never, winners[0]); err != nil {
		return err
	}
	for _, d := range in[first.ID] {
		if string(d.Body) != string(winners[0].Body) {
			return errors.New("the message of a call that did not create has arrived")
		}
	}
	return nil
}

func atomicHonoursContext(ctx context.Context, s Subject) error {
	a, err := s.atomic()
	if err != nil {
		return err
	}
	over, cancel := ended(ctx)
	defer cancel()
	for name, request := range over {
		m := s.message(ctx, 0)
		_, _, err := tryCreateAndDispatch(request, a, s.record(m), m)
		if err := unavailable("CreateAndDispatch for "+name, err); err != nil {
			return err
		}
		switch _, err := s.Store.Get(ctx, m.ID); task.KindOf(err) {
		case task.NotStored:
			err = s.nothing(ctx, m)
			if err != nil {
				return fmt.Errorf("there is no record: %w", err)
			}
		case "":
			if _, err := s.expect(ctx, m); err != nil {
				return fmt.Errorf("there is a record: %w", err)
			}
		default:
			return fmt.Errorf("Get: %w", err)
		}
	}
	return nil
}

func atomicCancels(ctx context.Context, s Subject) error {
	a, err := s.atomic()
	if err != nil {
		return err
	}
	if err := s.cancels(ctx); err != nil {
		return err
	}
	var ms [3]task.Outgoing
	var receipts [3]task.Receipt
	for i := range ms {
		ms[i] = s.message(ctx, delay)
		if receipts[i], err = createAndDispatch(ctx, a, s.record(ms[i]), ms[i]); err != nil {
			return err
		}
	}
	if err := s.nothing(ctx, ms[:]...); err != nil {
		return err
	}
	if err := s.Dispatcher.Cancel(ctx, sent(ms[1], receipts[1])); err != nil {
		return fmt.Errorf("Cancel: %w", err)
	}
	return s.onlyNeighbours(ctx, ms)
}
