package dispatchtest_test

import (
	"bytes"
	"context"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// replacing is a Dispatch that rewrites a part of the body.
func replacing(old, with string) func(*broken) {
	return sending(func(m *task.Outgoing) { m.Body = bytes.ReplaceAll(m.Body, []byte(old), []byte(with)) })
}

func TestMutantsOfDeliveryAreCaught(t *testing.T) {
	inFlight := func(fate func(b *broken, ctx context.Context, m task.Outgoing) (task.Receipt, error)) func(*broken) {
		return func(b *broken) {
			var n atomic.Int32
			b.dispatch = func(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
				defer n.Add(-1)
				if n.Add(1) == 17 {
					return fate(b, ctx, m)
				}
				if ctx.Err() == nil {
					<-time.After(time.Millisecond) // the way to the target
				}
				return b.real.Dispatch(ctx, m)
			}
		}
	}
	catch(t, bounded(true), []mutant{
		{"the body is escaped for HTML", replacing("<", `\u003c`), []string{keepsBody}},
		{"escapes are resolved", replacing(`\u00e9`, "é"), []string{keepsBody}},
		{"what is offloaded does not say so", replacing(`,"offloaded":true`, ""), []string{argumentsWhole}},
		{"space is dropped", replacing("[ ", "["), []string{keepsBody}},
		{"numbers are normalised", replacing("1.10", "1.1"), []string{keepsBody, keepsTouchyText, delayedIsKept}},
		{"names are sorted", replacing(`"z":null,"a":[[],{},""]`, `"a":[[],{},""],"z":null`), []string{keepsBody, delayedIsKept}},
		{"U+FFFE becomes U+FFFD", replacing("\ufffe", "\ufffd"), []string{keepsTouchyText, delayedIsKept}},
		{"context attributes are replaced", replacing("<aws.scheduler.execution-id>", "d34db33f"), []string{keepsTouchyText, delayedIsKept}},
		{"a new line is added", sending(func(m *task.Outgoing) { m.Body = append(bytes.Clone(m.Body), '\n') }),
			[]string{keepsBody, keepsNothing, acceptsRepeats, concurrentArrive, overdueArrives, keepsSizeLimit, argumentsWhole}},
		{"all attributes are dropped", sending(func(m *task.Outgoing) { m.Attributes = nil }),
			[]string{keepsAttributes, keepsNothing, acceptsRepeats, concurrentArrive, overdueArrives, keepsSizeLimit, delayedIsKept}},
		{"attributes of the product's own names alone are kept", sending(func(m *task.Outgoing) {
			m.Attributes = maps.Clone(m.Attributes)
			delete(m.Attributes, task.AttributeEnvelope)
		}), []string{keepsAttributes}},
		{"attributes are cut at a comma", sending(func(m *task.Outgoing) {
			m.Attributes = maps.Clone(m.Attributes)
			for k, v := range m.Attributes {
				m.Attributes[k], _, _ = strings.Cut(v, ",")
			}
		}), []string{keepsAttributes, delayedIsKept}},
		{"it answers before the target has accepted", func(b *broken) {
			b.dispatch = func(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
				if err := b.answer(m); err != nil || ctx.Err() != nil || m.Group != "" {
					return b.real.Dispatch(ctx, m)
				}
				m.Body, m.Attributes = bytes.Clone(m.Body), maps.Clone(m.Attributes)
				time.AfterFunc(time.Millisecond, func() { _, _ = b.real.Dispatch(ctx, m) })
				return task.Receipt{}, nil
			}
		}, []string{acceptsForGood, cancelRemoves}},
		{"it keeps the message that was passed in", func(b *broken) {
			b.dispatch = func(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
				if err := b.answer(m); err != nil || ctx.Err() != nil || !m.Due.IsZero() || m.Group != "" {
					return b.real.Dispatch(ctx, m)
				}
				time.AfterFunc(time.Millisecond, func() { _, _ = b.real.Dispatch(context.WithoutCancel(ctx), m) })
				return task.Receipt{}, nil
			}
		}, []string{keepsNothing}},
		{"it adds to the attributes that were passed in", func(b *broken) {
			b.dispatch = func(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
				receipt, err := b.real.Dispatch(ctx, m)
				if m.Attributes[task.AttributeEnvelope] == "" && m.Due.IsZero() {
					m.Attributes["sent"] = "yes"
				}
				return receipt, err
			}
		}, []string{keepsNothing, acceptsRepeats, concurrentArrive, keepsSizeLimit}},
		{"a repeated id is refused", func(b *broken) {
			var seen sync.Map
			b.dispatch = func(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
				if _, again := seen.LoadOrStore(m.ID, true); again {
					return task.Receipt{}, task.Errorf(task.MessageRejected, "duplicate")
				}
				return b.real.Dispatch(ctx, m)
			}
		}, []string{acceptsRepeats, repeatsNotDue}},
		{"an id that is scheduled is a conflict", func(b *broken) {
			var scheduled sync.Map
			b.dispatch = func(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
				if m.Due.IsZero() {
					return b.real.Dispatch(ctx, m)
				}
				if _, again := scheduled.LoadOrStore(m.ID, true); again {
					return task.Receipt{}, task.Errorf(task.Unavailable, "conflict")
				}
				return b.real.Dispatch(ctx, m)
			}
		}, []string{repeatsNotDue}},
		{"one of many at once is lost", inFlight(func(*broken, context.Context, task.Outgoing) (task.Receipt, error) {
			return task.Receipt{}, nil
		}), []string{concurrentArrive}},
		{"one of many at once is throttled without need", inFlight(func(*broken, context.Context, task.Outgoing) (task.Receipt, error) {
			return task.Receipt{}, task.Errorf(task.Unavailable, "throttled")
		}), []string{concurrentArrive}},
	})
}

func TestMutantsOfDelaysAreCaught(t *testing.T) {
	delaying := func(change func(delay time.Duration) time.Duration) func(*broken) {
		return sending(func(m *task.Outgoing) {
			if !m.Due.IsZero() {
				m.Due = task.At(time.Now().Add(change(time.Until(m.Due.Time))))
			}
		})
	}
	catch(t, bounded(true), []mutant{
		{"a delay is cut to whole seconds", delaying(func(d time.Duration) time.Duration {
			return (d + time.Microsecond).Truncate(time.Second)
		}), []string{arrivesWhenDue}},
		{"a delay is rounded to whole seconds", delaying(func(d time.Duration) time.Duration {
			return d.Round(time.Second)
		}), []string{arrivesWhenDue}},
		{"a delay is ignored", sending(func(m *task.Outgoing) { m.Due = task.Time{} }),
			[]string{arrivesWhenDue, repeatsNotDue, keepsDelayLimit, cancelOfGone}},
		{"a delay is a minute longer", delaying(func(d time.Duration) time.Duration { return d + time.Minute }),
			[]string{arrivesWhenDue, delayedIsKept, overdueArrives, repeatsNotDue, keepsDelayLimit, cancelRemoves, cancelOfGone}},
		{"a delay that is too long is shortened", delaying(func(d time.Duration) time.Duration {
			return min(d, maxDelay*time.Second)
		}), []string{keepsDelayLimit}},
		{"what is overdue is refused", func(b *broken) {
			b.dispatch = func(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
				if !m.Due.IsZero() && time.Until(m.Due.Time) < 0 {
					return task.Receipt{}, task.Errorf(task.MessageRejected, "must be in the future")
				}
				return b.real.Dispatch(ctx, m)
			}
		}, []string{overdueArrives}},
		{"what is overdue is dropped", func(b *broken) {
			b.dispatch = func(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
				if !m.Due.IsZero() && time.Until(m.Due.Time) < 0 {
					return task.Receipt{}, nil
				}
				return b.real.Dispatch(ctx, m)
			}
		}, []string{overdueArrives}},
	})
}
