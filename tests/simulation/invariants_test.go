package simulation_test

import (
	"fmt"
	"slices"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
)

// ledger is what the promises are checked against: all that has happened, known
// to nobody but the scheduler.
type ledger struct {
	records map[string]*task.Record // as stored now
	before  map[string]*task.Record // one version earlier
	ids     []string                // in the order of their creation
	sent    map[string]task.Time    // the EnqueuedAt of the record for which a message was accepted last
	copies  map[string]int          // how many messages were ever accepted
	born    map[string]int          // at which step of the history
	acked   map[string]task.Time    // likewise, of tasks that were answered 202
	took    map[string]bool         // events that took effect
	started map[string]string       // attempt → delivery
}

func newLedger() ledger {
	return ledger{
		records: map[string]*task.Record{}, before: map[string]*task.Record{},
		sent: map[string]task.Time{}, copies: map[string]int{}, born: map[string]int{}, acked: map[string]task.Time{},
		took: map[string]bool{}, started: map[string]string{},
	}
}

func tookKey(id string, enqueued task.Time, e task.Event) string {
	return fmt.Sprint(id, enqueued.UnixMicro(), e.Type, e.Attempt)
}

// committed holds a write of the store against the one before it.
func (w *world) committed(c *call, stored *task.Record) {
	l, p := &w.ledger, c.proc
	stored = tasktest.Clone(stored)
	old := l.records[stored.ID]
	l.records[stored.ID] = stored
	if old == nil {
		l.ids = append(l.ids, stored.ID)
	}
	p.wrote = append(p.wrote, stored.ID)
	w.history.add(w, "  … %s is %s, attempts %d, ends %v, ended %q", short(stored.ID), stored.Status, stored.Attempts(), stored.AttemptEnds, stored.Ended)
	if old == nil || old.EnqueuedAt != stored.EnqueuedAt {
		if old != nil && !old.Gone(p.service.Now()) {
			w.violated("the living record %s was replaced by a new one", short(stored.ID))
		}
		if stored.Status != task.Ready || stored.Attempts() > 0 {
			w.violated("the record %s is born %s", short(stored.ID), stored.Status)
		}
		delete(l.before, stored.ID)
		l.born[stored.ID] = w.history.step
		return
	}
	l.before[stored.ID] = old
	w.checkWritten(c, old, stored)
	if p.event != nil {
		w.checkEffect(c, old, stored)
	}
}

// checkWritten checks what no write may do to a record, whoever makes it.
func (w *world) checkWritten(c *call, old, now *task.Record) {
	id := short(now.ID)
	if was, is := identity(old), identity(now); was != is {
		w.violated("%s became another task: %s is now %s", id, was, is)
	}
	if old.Finished() && ending(old) != ending(now) {
		w.violated("%s was final and changed: %s is now %s", id, ending(old), ending(now))
	}
	if !hasPrefix(now.WorkerIDs, old.WorkerIDs) || !hasPrefix(now.AttemptEnds, old.AttemptEnds) || !hasPrefix(now.Errors, old.Errors) {
		w.violated("%s forgot what it had been told", id)
	}
	if old.Keyed != nil && old.Keyed.Dispatched && !now.Keyed.Dispatched {
		w.violated("%s lost its mark", id)
	}
	if now.Keyed != nil && now.Keyed.Dispatched && w.ledger.sent[now.ID] != now.EnqueuedAt {
		w.violated("%s is marked, and its message was never accepted", id)
	}
	if len(now.AttemptEnds) > now.Attempts() || now.Finished() && now.Attempts() != len(now.AttemptEnds) {
		w.violated("%s has %d attempts, and %d of them ended", id, now.Attempts(), len(now.AttemptEnds))
	}
	if n := len(old.AttemptEnds); len(now.AttemptEnds) > n && now.AttemptEnds[n] == "lapsed" && c.at.Before(old.LeaseUntil.Time) {
		w.violated("%s: attempt %d is ended as lapsed, and its lease lasts", id, old.Attempts())
	}
	if old.Status == task.Running && now.Status == task.Running && old.Attempts() == now.Attempts() && now.LeaseUntil.Before(old.LeaseUntil.Time) {
		w.violated("%s: the lease of attempt %d became shorter", id, now.Attempts())
	}
	if old.CancelRequested && now.Status == task.Ready {
		w.violated("%s is to be cancelled, and is tried again", id)
	}
	if now.Ended == "cancelled" && !old.Finished() && !c.proc.cancels && !old.CancelRequested && now.Keyed != nil {
		w.violated("%s was cancelled, and nobody asked for it", id)
	}
	switch n := now.Attempts() - old.Attempts(); {
	case n == 1:
		w.checkAttempt(c, old, now)
	case n != 0:
		w.violated("%s went from attempt %d to %d", id, old.Attempts(), now.Attempts())
	}
	if now.Ended == "expired" && !old.Finished() {
		if old.Attempts() > 0 || old.ExpiresAt.IsZero() || c.at.Before(old.ExpiresAt.Time) {
			w.violated("%s expired, with %d attempts and expires_at %s", id, old.Attempts(), old.ExpiresAt)
		}
	}
}

// checkAttempt checks that an attempt may start, by the clock of its service.
func (w *world) checkAttempt(c *call, old, now *task.Record) {
	id := short(now.ID)
	switch {
	case old.Finished():
		w.violated("%s was final, and attempt %d starts", id, now.Attempts())
	case old.Status == task.Running && c.at.Before(old.LeaseUntil.Time):
		w.violated("%s: attempt %d starts while the lease of %d lasts", id, now.Attempts(), old.Attempts())
	case old.Attempts() == 0 && !old.ExpiresAt.IsZero() && !c.at.Before(old.ExpiresAt.Time):
		w.violated("%s starts after it has expired", id)
	case now.MaxAttempts > 0 && now.Attempts() > now.MaxAttempts:
		w.violated("%s starts attempt %d of %d", id, now.Attempts(), now.MaxAttempts)
	case c.proc.event == nil || c.proc.event.Type != task.EventStarted:
		w.violated("%s starts an attempt that nobody reported", id)
	case w.ledger.sent[now.ID] != now.EnqueuedAt:
		w.violated("%s starts, and its message was never accepted", id)
	}
	w.ledger.started[attemptKey(now, now.Attempts())] = now.DeliveryID
}

func attemptKey(r *task.Record, n int) string {
	return fmt.Sprint(r.ID, r.EnqueuedAt.UnixMicro(), "/", n)
}

// checkEffect checks that an event changed only what it may, and notes that it
// took effect.
func (w *world) checkEffect(c *call, old, now *task.Record) {
	e, id := c.proc.event, short(now.ID)
	stale := e.Attempt > 0 && (e.Attempt != old.Attempts() || old.Status != task.Running)
	byTime := now.Ended == "expired" || now.Ended == "cancelled" // is what time alone decides
	if stale && !byTime {
		w.violated("%s of attempt %d changed %s, which was at attempt %d, %s", e.Type, e.Attempt, id, old.Attempts(), old.Status)
	}
	if old.CancelRequested && old.Status == task.Running && !byTime && !c.at.Before(old.LeaseUntil.Time) {
		w.violated("%s was to be cancelled when its lease lapsed, and %s changed it", id, e.Type)
	}
	if e.Type == task.EventDeadLettered && old.Status == task.Running && c.at.Before(old.LeaseUntil.Time) {
		w.violated("%s was ended by dead_lettered while a lease lasts", id)
	}
	n := len(now.AttemptEnds)
	if n > len(old.AttemptEnds) && n == e.Attempt && now.AttemptEnds[n-1] == e.Type || e.Type == task.EventDeadLettered && now.Ended == e.Type {
		w.ledger.took[tookKey(now.ID, now.EnqueuedAt, *e)] = true
	}
}

// identity is what a task is and stays.
func identity(r *task.Record) string {
	fingerprint := ""
	if r.Keyed != nil {
		fingerprint = r.Keyed.Fingerprint
	}
	return fmt.Sprint(r.Owner, r.TaskName, r.Args, r.Kwargs, r.Backend, r.QueueName, r.RunAfter.UnixMicro(), r.ExpiresAt.UnixMicro(), r.MaxAttempts, fingerprint)
}

// ending is what a finished task is and stays.
func ending(r *task.Record) string {
	return fmt.Sprint(r.Status, r.Ended, r.FinishedAt.UnixMicro(), r.ReturnValue, r.Errors, r.WorkerIDs, r.AttemptEnds, r.DeleteAfter.UnixMicro())
}

func hasPrefix[T comparable](all, prefix []T) bool {
	return len(all) >= len(prefix) && slices.Equal(all[:len(prefix)], prefix)
}

// sent notes that a target has accepted a message.
func (w *world) sent(p *proc, m task.Outgoing) {
	r := w.ledger.records[m.ID]
	if r == nil {
		w.violated("the message of %s precedes its record", short(m.ID))
		return
	}
	if m.Due != r.RunAfter || m.Group != r.Group || m.Queue != r.QueueName {
		w.violated("the message of %s is due %s, and asked for is %s", short(m.ID), m.Due, r.RunAfter)
	}
	w.ledger.sent[m.ID] = r.EnqueuedAt
	w.ledger.copies[m.ID]++
	p.sent = append(p.sent, m.ID)
}
