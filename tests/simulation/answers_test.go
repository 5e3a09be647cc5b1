package simulation_test

import (
	"errors"
	"slices"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// living returns the record as it is now, unless it is past its life by the
// process's clock.
func (w *world) living(p *proc, id string) *task.Record {
	r := w.ledger.records[id]
	if r == nil || r.Gone(p.service.Now()) {
		return nil
	}
	return r
}

// checkEnqueued checks the answer to a request at the moment at which it is given.
func (w *world) checkEnqueued(p *proc, owner string, req task.Request, a task.Accepted, err error) {
	what, kind := describe(owner, req), task.KindOf(err)
	w.history.add(w, "  … %s: %s", what, verdict(task.Outcome{Accepted: task.Accepted{Replayed: a.Replayed}, Err: err}))
	var keyed *task.Record // the record of the request's key or id
	if id := repeatable(owner, req); id != "" {
		keyed = w.living(p, id)
	}
	// A batch may have decided about this item when there was no record yet.
	same := keyed != nil && keyed.Args == string(req.Args) && (!p.batch || w.ledger.born[keyed.ID] < p.began)
	if keyed != nil && keyed.Owner != owner && req.Key != "" {
		w.violated("%s: the key is %s's", what, keyed.Owner)
	}
	switch kind {
	case "":
		w.checkAccepted(p, owner, req, a.Task)
	case task.Unavailable:
		w.checkGivenUp(p, what, req)
	case task.InFlight:
		var e *task.Error
		if errors.As(err, &e); e.RetryAfter <= 0 || keyed == nil && !w.skewed() {
			w.violated("%s: in flight, with the record %v and Retry-After %s", what, keyed, e.RetryAfter)
		}
	case task.IDTaken:
		if keyed == nil && !w.skewed() || keyed != nil && keyed.Owner == owner || len(p.sent) > 0 {
			w.violated("%s: the id is nobody else's, or was sent", what)
		}
	case task.IdempotencyKeyReused:
		if same || keyed == nil && !w.skewed() || keyed != nil && keyed.Owner != owner {
			w.violated("%s: the key was not used with another request of this owner", what)
		}
	default:
		w.checkRefused(p, what, req, keyed, same, err)
	}
}

// checkAccepted checks a 202: the task asked for is recorded, and its message
// accepted, unless it is over.
func (w *world) checkAccepted(p *proc, owner string, req task.Request, doc task.Document) {
	what, r := describe(owner, req), w.living(p, doc.ID)
	switch {
	case r == nil:
		w.violated("%s: accepted, and there is no record", what)
	case r.Owner != owner || r.Args != string(req.Args) || r.TaskName != req.TaskName:
		w.violated("%s: answered with another task, of %s, %s", what, r.Owner, r.Args)
	case repeatable(owner, req) != "" && doc.ID != repeatable(owner, req):
		w.violated("%s: the key has another id", what)
	case !r.Finished() && w.ledger.sent[r.ID] != r.EnqueuedAt:
		w.violated("%s: accepted, and its message was never sent", what)
	case doc.State == task.StateCancelled && len(p.failed) == 0 && slices.Contains(p.sent, r.ID) && w.ledger.copies[r.ID] == 1 &&
		(r.Keyed != nil || r.Backend == "refs") && w.queued(r.ID):
		w.violated("%s: cancelled meanwhile, and its message was left", what)
	default:
		w.ledger.acked[r.ID] = r.EnqueuedAt
	}
}

// queued reports whether a queue still holds the task's message, where a cancel
// finds it.
func (w *world) queued(id string) bool {
	return slices.ContainsFunc(w.targets, func(t *target) bool {
		return slices.ContainsFunc(t.queue.Held(), func(m task.Outgoing) bool { return m.ID == id })
	})
}

// checkGivenUp checks a 503 without a key: if nothing failed but one call, and
// its outcome was certain, what was to be sent cannot run any more.
func (w *world) checkGivenUp(p *proc, what string, req task.Request) {
	if repeatable("", req) != "" || p.batch || !p.dispatched || len(p.failed) != 1 || p.failed[0] == givenUp {
		return
	}
	for _, id := range p.wrote {
		if r := w.ledger.records[id]; !r.Finished() && r.Attempts() == 0 {
			w.violated("%s: given up, and its record is left %s", what, r.Status)
		}
	}
}

// checkRefused checks a 4xx: this request sent nothing, and what is there of
// earlier ones with its key cannot run any more.
func (w *world) checkRefused(p *proc, what string, req task.Request, keyed *task.Record, same bool, err error) {
	var e *task.Error
	errors.As(err, &e)
	switch {
	case !p.batch && len(p.sent) > 0 || slices.Contains(p.sent, e.TaskID):
		w.violated("%s: refused as %s, and sent", what, e.Kind)
	case same && !keyed.Finished():
		w.violated("%s: refused as %s, and its record is %s, attempts %d", what, e.Kind, keyed.Status, keyed.Attempts())
	case same && keyed.Attempts() > 0:
		w.violated("%s: refused as %s, and it has run", what, e.Kind)
	case !p.batch && e.Kind != task.MessageRejected && len(p.wrote) > 0 && !(same && keyed.Finished()):
		w.violated("%s: refused as %s, and recorded", what, e.Kind)
	}
}

func (w *world) skewed() bool { return w.services[0].skew != 0 }

// checkReport checks the answer to an event. repeated says that it had taken
// effect before it was sent this time.
func (w *world) checkReport(p *proc, c *parcel, a task.Answer, err error, repeated bool) {
	e, kind, id := p.event, task.KindOf(err), short(c.ID)
	w.history.add(w, "  … %s of attempt %d of %s: %q, acknowledge %v", e.Type, e.Attempt, id, kind, a.Acknowledge || kind.Acknowledge())
	r := w.living(p, c.ID)
	switch {
	case kind == task.Unavailable:
		return
	case r == nil || r.EnqueuedAt != c.message.EnqueuedAt: // the task is over and forgotten
		if kind != task.UnknownTask && !w.skewed() {
			w.violated("%s of a task of the past was answered %q, about %s", e.Type, kind, id)
		}
		return
	case kind == task.UnknownTask:
		w.violated("%s: %s is not known", e.Type, id)
	case (a.Acknowledge || kind.Acknowledge()) && !r.Finished():
		w.violated("%s: the message of %s is to be acknowledged, which is %s", e.Type, id, r.Status)
	case repeated && err != nil:
		w.violated("%s of attempt %d of %s took effect, and its repetition is answered %q", e.Type, e.Attempt, id, kind)
	case repeated && a.Acknowledge != r.Finished():
		w.violated("%s of attempt %d of %s, repeated, has another answer", e.Type, e.Attempt, id)
	case kind == "" && a.CancelRequested != r.CancelRequested:
		w.violated("%s: %s is answered cancel_requested %v", e.Type, id, a.CancelRequested)
	case kind == "":
		w.checkTaken(c, e, a, r)
	case kind == task.LeaseHeld && e.Type == task.EventStarted && r.DeliveryID == e.DeliveryID && r.Status == task.Running:
		w.violated("started: %s's own lease is held against it", id)
	}
}

// checkTaken checks the answer to an event that took effect.
func (w *world) checkTaken(c *parcel, e *task.Event, a task.Answer, r *task.Record) {
	id := short(c.ID)
	switch e.Type {
	case task.EventStarted:
		if w.ledger.started[attemptKey(r, a.Attempt)] != e.DeliveryID {
			w.violated("started: attempt %d of %s is another delivery's", a.Attempt, id)
		}
		args := c.message.Args
		if c.message.Offloaded {
			args = a.Args
		}
		if string(args) != r.Args {
			w.violated("started: the worker of %s has the arguments %s, and %s were asked for", id, args, r.Args)
		}
	case task.EventSucceeded:
		want := string(e.ReturnValue)
		if want == "" {
			want = "null"
		}
		if r.Status != task.Successful || r.ReturnValue != want {
			w.violated("succeeded: %s is %s with %s", id, r.Status, r.ReturnValue)
		}
	case task.EventCancelled, task.EventDeadLettered:
		if !r.Finished() || !a.Acknowledge {
			w.violated("%s: %s is %s", e.Type, id, r.Status)
		}
	}
}

func (w *world) checkCancelled(p *proc, owner, id string, prevented bool, err error) {
	kind := task.KindOf(err)
	w.history.add(w, "  … cancel of %s: %q, prevented %v", short(id), kind, prevented)
	r := w.living(p, id)
	switch {
	case kind == task.Unavailable:
	case r == nil || r.Owner != owner:
		if kind != task.UnknownTask && !w.skewed() || r != nil && kind == "" {
			w.violated("%s's cancel of %s, which is not theirs: %q", owner, short(id), kind)
		}
	case kind == task.UnknownTask:
		w.violated("%s's cancel of %s: not known", owner, short(id))
	case kind == task.Finished && (!r.Finished() || r.Ended == "cancelled"):
		w.violated("%s cannot be cancelled, and is %s, %s", short(id), r.Status, r.Ended)
	case prevented && (r.Ended != "cancelled" || r.Backend == "plain"):
		w.violated("the cancel of %s was prevented, and it is %s", short(id), r.Status)
	case kind == "" && r.Ended != "cancelled" && !r.CancelRequested:
		w.violated("the cancel of %s left it as it was", short(id))
	}
}

func (w *world) checkGot(p *proc, owner, id string, wait time.Duration, doc task.Document, err error) {
	kind, r := task.KindOf(err), w.living(p, id)
	w.history.add(w, "  … get of %s: %q %s", short(id), kind, doc.State)
	switch {
	case kind == task.Unavailable:
	case r == nil || r.Owner != owner:
		if kind == "" && r != nil || kind != task.UnknownTask && !w.skewed() {
			w.violated("%s's get of %s, which is not theirs: %q", owner, short(id), kind)
		}
	case kind == task.UnknownTask:
		w.violated("%s's get of %s: not known", owner, short(id))
	case wait == 0 && (doc.Status != r.Status || doc.Attempts != r.Attempts()):
		w.violated("%s reads %s, and is %s", short(id), doc.Status, r.Status)
	}
}

func (w *world) checkListed(owner string, listing task.Listing) {
	for i, doc := range listing.Items {
		if r := w.ledger.records[doc.ID]; r == nil || r.Owner != owner {
			w.violated("%s's listing has %s, which is not theirs", owner, short(doc.ID))
		}
		if slices.ContainsFunc(listing.Items[:i], func(d task.Document) bool { return d.ID == doc.ID }) {
			w.violated("%s's listing has %s twice", owner, short(doc.ID))
		}
	}
}
