package dispatchtest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
)

func TestMutantsOfLimitsAreCaught(t *testing.T) {
	tooLarge := func(m task.Outgoing) bool { return len(m.Body) > maxBytes }
	catch(t, bounded(true), []mutant{
		{"limits name no route for a delay", func(b *broken) {
			b.limits = func(ctx context.Context, queue string, delay time.Duration) task.Limits {
				l := b.real.Limits(ctx, queue, delay)
				if delay > 0 {
					l.Route = ""
				}
				return l
			}
		}, []string{keepsRoute, limitsNameRoute}},
		{"limits fail with the request", func(b *broken) {
			b.limits = func(ctx context.Context, queue string, delay time.Duration) task.Limits {
				if ctx.Err() != nil {
					return task.Limits{}
				}
				return b.real.Limits(ctx, queue, delay)
			}
		}, []string{limitsNameRoute}},
		{"limits promise a byte too many", func(b *broken) {
			b.limits = func(ctx context.Context, queue string, delay time.Duration) task.Limits {
				l := b.real.Limits(ctx, queue, delay)
				more := *l.MaxMessageBytes + 1
				l.MaxMessageBytes = &more
				return l
			}
		}, []string{argumentsWhole, keepsSizeLimit, batchOfLarge}},
		{"no limit is kept", func(b *broken) { b.Queue.LimitsOf = tasktest.Unlimited; b.limits = promised }, []string{keepsSizeLimit, keepsDelayLimit, batchAnswersInOrder, atomicRefusedMessage, entriesInPlace}},
		{"what is too large is cut", sending(func(m *task.Outgoing) { m.Body = m.Body[:min(len(m.Body), maxBytes)] }),
			[]string{keepsSizeLimit}},
		{"what is too large is Unavailable", answering(func(m task.Outgoing, err error) error {
			if tooLarge(m) {
				return task.Errorf(task.Unavailable, "failed")
			}
			return err
		}), []string{keepsSizeLimit}},
		{"what is refused was sent", func(b *broken) {
			b.dispatch = func(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
				if tooLarge(m) {
					_, _ = b.real.Dispatch(ctx, task.Outgoing{ID: m.ID, Queue: m.Queue, Body: m.Body[:maxBytes]})
				}
				return b.real.Dispatch(ctx, m)
			}
		}, []string{keepsSizeLimit}},
		{"the longest delay is refused", func(b *broken) {
			b.dispatch = func(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
				if !m.Due.IsZero() && time.Until(m.Due.Time) > (maxDelay-1)*time.Second {
					return task.Receipt{}, task.Errorf(task.MessageRejected, "too long")
				}
				return b.real.Dispatch(ctx, m)
			}
		}, []string{keepsDelayLimit}},
		{"a group is dropped", sending(func(m *task.Outgoing) { m.Group = "" }), []string{keepsGroupLimit}},
		{"a group is out of order", func(b *broken) {
			n := 0
			b.dispatch = func(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
				if m.Group != "" {
					n++
					m.Due = task.At(time.Now().Add(-time.Duration(n) * time.Second))
				}
				return b.real.Dispatch(ctx, m)
			}
		}, []string{keepsGroupLimit}},
	})
	catch(t, bounded(false), []mutant{
		{"a group that is not supported is dropped", sending(func(m *task.Outgoing) { m.Group = "" }), []string{keepsGroupLimit}},
	})
	ascii := bounded(true)
	ascii.CheckGroup = func(group string) string {
		if strings.ContainsFunc(group, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return "must be ASCII"
		}
		return ""
	}
	catch(t, bounded(true), []mutant{
		{"a group that breaks the target's rule is sent", func(b *broken) {
			b.limits = func(context.Context, string, time.Duration) task.Limits { return ascii }
		}, []string{keepsGroupLimit}},
	})
	fair := bounded(true)
	fair.GroupMode = task.GroupFairness
	catch(t, fair, []mutant{
		{"none", func(*broken) {}, nil},
		{"a group for fairness is dropped", sending(func(m *task.Outgoing) { m.Group = "" }), []string{keepsGroupLimit}},
	})
	immediate := task.Limits{Route: "memory"}
	catch(t, immediate, []mutant{
		{"a delay that is not supported is ignored", sending(func(m *task.Outgoing) { m.Due = task.Time{} }), []string{keepsDelayLimit}},
	})
}

// promised is what a queue that keeps no limits says of itself.
func promised(context.Context, string, time.Duration) task.Limits { return bounded(true) }

func TestMutantsOfCancelAreCaught(t *testing.T) {
	catch(t, bounded(true), []mutant{
		{"cancel removes nothing", func(b *broken) {
			b.cancel = func(ctx context.Context, s task.Sent) error {
				s.ID = ""
				return b.real.Cancel(ctx, s)
			}
		}, []string{cancelRemoves, batchReceipts, atomicCancels}},
		{"cancel removes whatever is delayed", func(b *broken) {
			b.cancel = func(ctx context.Context, s task.Sent) error {
				for _, m := range b.Held() {
					for ref := range 10 {
						s := task.Sent{ID: m.ID, Queue: m.Queue, Route: m.Route, CancelRef: "ref-" + string(rune('0'+ref))}
						if err := b.real.Cancel(ctx, s); err != nil {
							return err
						}
					}
				}
				return b.real.Cancel(ctx, s)
			}
		}, []string{cancelRemoves, batchReceipts, atomicCancels}},
		{"receipts have no reference", func(b *broken) {
			b.dispatch = func(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
				_, err := b.real.Dispatch(ctx, m)
				return task.Receipt{}, err
			}
		}, []string{cancelRemoves}},
		{"cancel of what is gone is an error", func(b *broken) {
			b.cancel = func(ctx context.Context, s task.Sent) error {
				held := len(b.Held())
				err := b.real.Cancel(ctx, s)
				if err == nil && held == len(b.Held()) {
					return task.Errorf(task.Unavailable, "not found")
				}
				return err
			}
		}, []string{cancelOfGone}},
	})
}

func TestMutantsOfRefusalsAreCaught(t *testing.T) {
	missing := func(m task.Outgoing) bool { return m.Queue == "nowhere" }
	catch(t, bounded(true), []mutant{
		{"dispatch swallows the context", func(b *broken) {
			b.dispatch = func(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
				return b.real.Dispatch(context.WithoutCancel(ctx), m)
			}
		}, []string{honoursContext}},
		{"cancel swallows the context", func(b *broken) {
			b.cancel = func(ctx context.Context, s task.Sent) error { return b.real.Cancel(context.WithoutCancel(ctx), s) }
		}, []string{honoursContext}},
		{"the context's error comes as it is", func(b *broken) {
			b.dispatch = func(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
				if err := ctx.Err(); err != nil {
					return task.Receipt{}, err
				}
				return b.real.Dispatch(ctx, m)
			}
		}, []string{honoursContext}},
		{"an unknown outcome is reported as refused for good", answering(func(_ task.Outgoing, err error) error {
			if task.KindOf(err) == task.Unavailable {
				return task.Errorf(task.MessageRejected, "failed on queue nowhere")
			}
			return err
		}), []string{honoursContext, namesMissingQueue}},
		{"a request that has ended is tried again for a while", func(b *broken) {
			b.dispatch = func(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
				if ctx.Err() != nil {
					<-time.After(5 * time.Second)
				}
				return b.real.Dispatch(ctx, m)
			}
		}, []string{honoursContext}},
		{"a missing queue is refused for good", answering(func(m task.Outgoing, err error) error {
			if missing(m) {
				return task.Errorf(task.MessageRejected, "there is no queue nowhere")
			}
			return err
		}), []string{namesMissingQueue}},
		{"a missing queue is not named", answering(func(m task.Outgoing, err error) error {
			if missing(m) {
				return task.Errorf(task.Unavailable, "there is no such queue")
			}
			return err
		}), []string{namesMissingQueue}},
		{"a missing queue is no error", answering(func(m task.Outgoing, err error) error {
			if missing(m) {
				return nil
			}
			return err
		}), []string{namesMissingQueue}},
		{"a missing queue's messages go to another", sending(func(m *task.Outgoing) { m.Queue = "mail" }), []string{namesMissingQueue}},
	})
}
