// Package tasktest holds a Store and a queue in memory. They keep the contracts
// of package task, proven by the same suites as every other implementation, and
// they fail on demand, in the three ways in which a cloud does. They are for
// tests: no production binary links this package.
package tasktest

import (
	"context"
	"sync"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// Op names an operation whose calls can be made to fail or to wait.
type Op string

// The operations. BatchItem is one message of a DispatchBatch and BatchEntry one
// entry of a CreateAndDispatch, so that a part of a batch can fail.
const (
	Create            Op = "Create"
	Get               Op = "Get"
	Replace           Op = "Replace"
	List              Op = "List"
	Dispatch          Op = "Dispatch"
	DispatchBatch     Op = "DispatchBatch"
	BatchItem         Op = "BatchItem"
	Cancel            Op = "Cancel"
	CreateAndDispatch Op = "CreateAndDispatch"
	BatchEntry        Op = "BatchEntry"
)

// Fault is what becomes of one call.
type Fault struct {
	applied bool
	err     error
}

// The faults. Their errors are all Unavailable: a caller cannot tell whether a
// call that failed was applied, and these are the three ways to test that.
var (
	// OK is no fault: the call does what it always does.
	OK = Fault{applied: true}
	// Lost is a request that never arrived.
	Lost = Fault{err: &task.Error{Kind: task.Unavailable, Msg: "the request was lost", Err: context.DeadlineExceeded}}
	// Refused is a request that was turned away for now, as throttling does.
	Refused = Fault{err: &task.Error{Kind: task.Unavailable, Msg: "refused for now", RetryAfter: time.Second}}
	// FailedButApplied is a request that took effect and whose answer was lost.
	FailedButApplied = Fault{applied: true, err: &task.Error{Kind: task.Unavailable, Msg: "the answer was lost", Err: context.DeadlineExceeded}}
)

// RefusedWith is a request that is turned away, and not applied, with err.
func RefusedWith(err error) Fault { return Fault{err: err} }

// AppliedWith is a request that took effect and is answered with err.
func AppliedWith(err error) Fault { return Fault{applied: true, err: err} }

// answer returns a copy of the error, so that a caller can add a task id without
// changing the errors of other calls.
func (f Fault) answer() error {
	if e, ok := f.err.(*task.Error); ok {
		mine := *e
		return &mine
	}
	return f.err
}

// Hook is called beside an operation on the task id, "" where there is none
// (List and whole batches). It may block: that holds the call at this step.
type Hook func(ctx context.Context, op Op, id string)

// Faults is the script of a fake. The zero Faults makes none. Its methods may
// be called concurrently, also while operations are under way.
type Faults struct {
	mu            sync.Mutex
	script        map[Op][]Fault
	calls         map[Op]int
	before, after []Hook
}

// Inject appends to the script of op: its next call takes the first fault, and
// so on; with the script used up, calls do what they always do.
func (f *Faults) Inject(op Op, faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.script == nil {
		f.script = map[Op][]Fault{}
	}
	f.script[op] = append(f.script[op], faults...)
}

// Before adds a hook that runs before an operation has looked at anything; the
// context is checked after it.
func (f *Faults) Before(h Hook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = append(f.before, h)
}

// After adds a hook that runs when an operation has taken effect, or has not,
// and before its caller hears of it.
func (f *Faults) After(h Hook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.after = append(f.after, h)
}

// Calls returns how many calls of op have begun.
func (f *Faults) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

// HoldBefore holds the next call of op before it takes effect. reached is
// closed when it is there; the call goes on after release, which may be called
// at any time and again, or when its context ends.
func (f *Faults) HoldBefore(op Op) (reached <-chan struct{}, release func()) {
	h, reached, release := hold(op)
	f.Before(h)
	return reached, release
}

// HoldAfter is HoldBefore for a call that has taken effect.
func (f *Faults) HoldAfter(op Op) (reached <-chan struct{}, release func()) {
	h, reached, release := hold(op)
	f.After(h)
	return reached, release
}

func hold(op Op) (h Hook, reached <-chan struct{}, release func()) {
	var first, last sync.Once
	arrived, released := make(chan struct{}), make(chan struct{})
	h = func(ctx context.Context, called Op, _ string) {
		mine := false
		if called == op {
			first.Do(func() { mine = true })
		}
		if !mine {
			return
		}
		close(arrived)
		select {
		case <-released:
		case <-ctx.Done():
		}
	}
	return h, arrived, func() { last.Do(func() { close(released) }) }
}

// call runs one operation between its hooks, as the script says. What apply
// returns is the caller's answer unless a fault takes its place.
func (f *Faults) call(ctx context.Context, op Op, id string, apply func() error) error {
	fault, before, after := f.begin(op)
	for _, h := range before {
		h(ctx, op, id)
	}
	err := fault.answer()
	if ended := ctx.Err(); ended != nil {
		err = &task.Error{Kind: task.Unavailable, Msg: "the request ended first", Err: ended}
	} else if fault.applied {
		if applied := apply(); err == nil || applied != nil {
			err = applied // what cannot be applied is answered as ever
		}
	}
	for _, h := range after {
		h(ctx, op, id)
	}
	return err
}

func (f *Faults) begin(op Op) (fault Fault, before, after []Hook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls == nil {
		f.calls = map[Op]int{}
	}
	f.calls[op]++
	fault = OK
	if script := f.script[op]; len(script) > 0 {
		fault, f.script[op] = script[0], script[1:]
	}
	// The slices only grow, so what they hold now may be read without the lock.
	return fault, f.before, f.after
}
