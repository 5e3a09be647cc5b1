package simulation_test

import (
	"context"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// cancel cancels some task, perhaps another owner's.
func (a *actor) cancel(owner string) {
	for range 1 + a.world.rng.IntN(2) {
		a.rest(pick(a.world, []time.Duration{0, 0, 0, 5 * time.Second, 50 * time.Second}))
		id, ok := a.someID()
		if !ok {
			return
		}
		a.request(owner+" cancels "+short(id), func(ctx context.Context, p *proc) {
			p.cancels = true
			prevented, _, err := p.service.Cancel(ctx, caller(owner), id)
			if !a.world.crashed(p) {
				a.world.checkCancelled(p, owner, id, prevented, err)
			}
		})
	}
}

// look gets some task, perhaps another owner's, or lists them all.
func (a *actor) look(owner string) {
	for range 1 + a.world.rng.IntN(3) {
		a.rest(pick(a.world, []time.Duration{0, 5 * time.Second, 50 * time.Second}))
		id, ok := a.someID()
		if !ok || a.world.chance(0.3) {
			a.list(owner)
			continue
		}
		wait := pick(a.world, []time.Duration{0, 0, 8 * time.Second})
		a.request(owner+" gets "+short(id), func(ctx context.Context, p *proc) {
			reading, err := p.service.Get(ctx, caller(owner), id, wait)
			var doc task.Document
			if err == nil {
				doc = reading.Document
			}
			if !a.world.crashed(p) {
				a.world.checkGot(p, owner, id, wait, doc, err)
			}
		})
	}
}

func (a *actor) list(owner string) {
	a.request(owner+" lists", func(ctx context.Context, p *proc) {
		listing, err := p.service.List(ctx, caller(owner), task.Filter{}, task.MaxListLimit, "")
		if err == nil && !a.world.crashed(p) {
			a.world.checkListed(owner, listing)
		}
	})
}

// walk goes through an owner's listing, page by page, when nothing happens any
// more: every record is there, once.
func (a *actor) walk(owner string) {
	w := a.world
	a.rest(20 * time.Minute)
	var found []string
	for cursor, more := "", true; more; more = cursor != "" {
		a.request(owner+" lists on", func(ctx context.Context, p *proc) {
			listing, err := p.service.List(ctx, caller(owner), task.Filter{}, 3, cursor)
			if err != nil {
				w.violated("%s cannot list: %v", owner, err)
			}
			for _, doc := range listing.Items {
				found = append(found, doc.ID)
			}
			cursor = listing.NextCursor
		})
	}
	for _, id := range w.ledger.ids {
		r := w.ledger.records[id]
		if left := r.DeleteAfter.Sub(w.now()); left > -maxSkew && left < maxSkew {
			continue // past its life, or not yet: that depends on whom one asks
		} else if n, want := count(found, id), left > 0 && r.Owner == owner; n > 1 || (n == 1) != want {
			w.violated("%s's listing has %s %d times, which is %s's", owner, short(id), n, r.Owner)
		}
	}
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

func (a *actor) someID() (string, bool) {
	ids := a.world.ledger.ids
	if len(ids) == 0 {
		return "", false
	}
	if a.world.chance(0.5) { // one about which something may be going on
		ids = ids[len(ids)-1:]
	}
	return pick(a.world, ids), true
}
