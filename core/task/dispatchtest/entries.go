package dispatchtest

import (
	"context"
	"fmt"
	"strings"

	"github.com/taskgate/taskgate/core/task"
)

// entryCases are of a create-and-dispatch of several entries.
var entryCases = []Case{
	{"create-and-dispatch of many stores and delivers each", entriesAllDone},
	{"create-and-dispatch of many answers for each entry in its place", entriesAnsweredInPlace},
	{"create-and-dispatch of many with one id stores and sends the first", entriesOfOneID},
	{"create-and-dispatch of many for a request that has ended is Unavailable for each", entriesHonourContext},
}

// entries returns n entries as the service makes them.
func (s Subject) entries(ctx context.Context, n int) []task.Entry {
	es := make([]task.Entry, n)
	for i := range es {
		m := s.message(ctx, 0)
		m.Body = body(m.ID, fmt.Sprintf(`"args":[%d],"kwargs":{}`, i))
		es[i] = task.Entry{Record: s.record(m), Message: m}
	}
	return es
}

func (s Subject) createAndDispatchAll(ctx context.Context, es []task.Entry) ([]task.EntryResult, error) {
	a, err := s.atomic()
	if err != nil {
		return nil, err
	}
	results := a.CreateAndDispatch(ctx, es)
	if len(results) != len(es) {
		return nil, fmt.Errorf("CreateAndDispatch of %d entries has %d results", len(es), len(results))
	}
	return results, nil
}

// accepted checks that an entry was new, is stored, and that its message arrives.
func (s Subject) accepted(ctx context.Context, e task.Entry, r task.EntryResult) error {
	if r.Err != nil || r.Existing != nil {
		return fmt.Errorf("CreateAndDispatch of a new id: %+v, %v", r.Existing, r.Err)
	}
	return s.stored(ctx, e.Record)
}

func entriesAllDone(ctx context.Context, s Subject) error {
	if _, err := s.createAndDispatchAll(ctx, nil); err != nil { // none is no error
		return err
	}
	es := s.entries(ctx, 100)
	results, err := s.createAndDispatchAll(ctx, es)
	if err != nil {
		return err
	}
	var ms []task.Outgoing
	for i, e := range es {
		if err := s.accepted(ctx, e, results[i]); err != nil {
			return fmt.Errorf("entry %d: %w", i+1, err)
		}
		ms = append(ms, e.Message)
	}
	return s.unchanged(ctx, ms...)
}

// entriesAnsweredInPlace puts one that is there, and others that cannot be
// accepted, among new ones.
func entriesAnsweredInPlace(ctx context.Context, s Subject) error {
	const there, refusedAt, oversize = 1, 3, 5
	es := s.entries(ctx, 7)
	if _, err := s.atomic(); err != nil {
		return err
	}
	known := *es[there].Record
	known.TaskName = "another"
	if existing, err := s.Store.Create(ctx, &known); err != nil || existing != nil {
		return fmt.Errorf("Create: %+v, %w", existing, err)
	}
	bad := map[int]bool{}
	limits := s.Dispatcher.Limits(ctx, s.Queue, 0)
	if limits.MaxMessageBytes != nil {
		es[refusedAt].Message = sized(es[refusedAt].Message, int(*limits.MaxMessageBytes)+1)
		bad[refusedAt] = true
	}
	if s.OversizeBytes != 0 {
		es[oversize].Record.Args = `["` + strings.Repeat("x", s.OversizeBytes) + `"]`
		bad[oversize] = true
	}
	results, err := s.createAndDispatchAll(ctx, es)
	if err != nil {
		return err
	}
	var sent, unsent []task.Outgoing
	for i, e := range es {
		switch r := results[i]; {
		case i == there:
			if r.Err != nil || r.Existing == nil || r.Existing.TaskName != known.TaskName || r.Existing.Revision != known.Revision {
				return fmt.Errorf("CreateAndDispatch of an id that is there finds %+v, %v, want %+v", r.Existing, r.Err, known)
			}
			unsent = append(unsent, e.Message)
		case bad[i]:
			if r.Err == nil {
				return fmt.Errorf("CreateAndDispatch says of entry %d, which cannot be accepted, that it is", i+1)
			}
			if err := s.notStored(ctx, e.Record.ID); err != nil {
				return err
			}
			unsent = append(unsent, e.Message)
		default:
			if err := s.accepted(ctx, e, r); err != nil {
				return fmt.Errorf("entry %d: %w", i+1, err)
			}
			sent = append(sent, e.Message)
		}
	}
	if err := s.unchanged(ctx, sent...); err != nil {
		return err
	}
	return s.nothing(ctx, unsent...)
}

func entriesOfOneID(ctx context.Context, s Subject) error {
	es := s.entries(ctx, 4)
	for i := range es[1:] {
		e := &es[i+1]
		e.Record.ID, e.Message.ID, e.Record.TaskName = es[0].Record.ID, es[0].Message.ID, "another"
		e.Message.Body = body(e.Message.ID, `"args":["another"],"kwargs":{}`)
	}
	results, err := s.createAndDispatchAll(ctx, es)
	if err != nil {
		return err
	}
	if err := s.accepted(ctx, es[0], results[0]); err != nil {
		return err
	}
	for _, r := range results[1:] {
		if r.Err != nil || r.Existing == nil || r.Existing.TaskName != es[0].Record.TaskName || r.Existing.Revision != es[0].Record.Revision {
			return fmt.Errorf("CreateAndDispatch of an id again finds %+v, %v, want %+v", r.Existing, r.Err, *es[0].Record)
		}
	}
	return s.unchanged(ctx, es[0].Message)
}

func entriesHonourContext(ctx context.Context, s Subject) error {
	if _, err := s.atomic(); err != nil {
		return err
	}
	over, cancel := ended(ctx)
	defer cancel()
	for name, request := range over {
		es := s.entries(ctx, 3)
		results, err := s.createAndDispatchAll(request, es)
		if err != nil {
			return err
		}
		for _, r := range results {
			if err := unavailable("CreateAndDispatch for "+name, r.Err); err != nil {
				return err
			}
		}
	}
	return nil
}
