package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/task"
)

// The names of tasks that a target treats in a way of its own.
const (
	nameNormal  = "normal"
	nameRefused = "refused" // never accepted
	nameFickle  = "fickle"  // accepted until the target changes its mind
)

var owners = []string{"alice", "bob"}

// keyedRequest is a request that may be repeated with its key.
type keyedRequest struct {
	owner string
	req   task.Request
}

// makePlan decides which clients there are to be.
func (w *world) makePlan() {
	if w.chance(0.5) {
		w.focus = pick(w, w.targets)
	}
	for i := range 4 + w.rng.IntN(12) {
		owner := pick(w, owners)
		var client func(*actor)
		switch w.rng.IntN(10) {
		case 0, 1:
			client = func(a *actor) { a.enqueue(owner, a.newRequest(fmt.Sprintf("keyless-%d", i))) }
		case 2, 3, 4, 5:
			client = func(a *actor) { a.insist(a.keyedRequest(), 1+w.rng.IntN(4)) }
		case 6:
			client = func(a *actor) { a.enqueueBatch(owner, i) }
		case 7, 8:
			client = func(a *actor) { a.cancel(owner) }
		default:
			client = func(a *actor) { a.look(owner) }
		}
		w.plan = append(w.plan, client)
	}
}

// newRequest makes a request whose arguments tell it from every other.
func (a *actor) newRequest(what string) task.Request {
	w := a.world
	req := task.Request{
		TaskName: nameNormal, Args: jsontext.Value(`["` + what + `"]`), Kwargs: jsontext.Value("{}"),
		Backend: pick(w, w.targets).alias,
	}
	if w.focus != nil {
		req.Backend = w.focus.alias
	}
	var due time.Duration
	if w.chance(0.2) {
		seconds := float64(3 + w.rng.IntN(60))
		req.DelaySeconds, due = &seconds, time.Duration(seconds)*time.Second
	}
	if w.chance(0.25) {
		req.ExpiresAt = task.At(w.now().Add(due + time.Duration(2+w.rng.IntN(120))*time.Second))
	}
	if w.chance(0.3) {
		req.MaxAttempts = 1 + w.rng.IntN(3)
	}
	switch p := w.rng.Float64(); {
	case p < 0.04:
		req.TaskName = nameRefused
	case p < 0.16:
		req.TaskName = nameFickle
	case p < 0.18:
		req.Priority = 1
	case p < 0.2: // more than the store holds
		req.Kwargs = jsontext.Value(`{"x":"` + strings.Repeat("x", storeBytes) + `"}`)
	case p < 0.35: // offloaded, where messages must be small
		req.Kwargs = jsontext.Value(`{"x":"` + strings.Repeat("x", storeBytes/2) + `"}`)
	}
	return req
}

// keyedRequest returns one that has been made before, perhaps by another client
// at this moment, or a new one, perhaps with a key that has been used.
func (a *actor) keyedRequest() *keyedRequest {
	w := a.world
	again, keys := 0.5, 3
	if w.focus != nil {
		again, keys = 0.85, 1
	}
	if len(w.keyed) > 0 && w.chance(again) {
		return pick(w, w.keyed)
	}
	owner, key := pick(w, owners), fmt.Sprintf("key-%d", w.rng.IntN(keys))
	k := &keyedRequest{owner: owner, req: a.newRequest(fmt.Sprintf("%s-%s-%d", owner, key, len(w.keyed)))}
	if k.req.Key = key; w.chance(0.25) { // or an id, which two owners may choose
		k.req.Key, k.req.ID = "", fmt.Sprintf("0190a4f6-7b3c-7def-8123-%012d", w.rng.IntN(keys))
	}
	w.keyed = append(w.keyed, k)
	return k
}

// repeatable returns the id of the task that each repetition of the request means.
func repeatable(owner string, req task.Request) string {
	if req.Key != "" {
		return task.KeyedID(owner, req.Key)
	}
	return req.ID
}

// insist repeats a keyed request until it is answered for good, or it has tried
// often enough. It honours Retry-After, or it does not.
func (a *actor) insist(k *keyedRequest, tries int) (settled bool) {
	for range tries {
		kind, wait := a.enqueue(k.owner, k.req)
		switch kind {
		case task.Unavailable, task.InFlight:
		default:
			return true
		}
		if !a.world.faults || a.world.chance(0.5) {
			a.rest(wait + time.Second)
		} else {
			a.rest(pick(a.world, []time.Duration{0, 3 * time.Second, 20 * time.Second}))
		}
	}
	return false
}

// enqueue makes one request, and returns what its client knows then.
func (a *actor) enqueue(owner string, req task.Request) (kind task.Kind, wait time.Duration) {
	heard := a.request(describe(owner, req), func(ctx context.Context, p *proc) {
		accepted, err := p.service.Enqueue(ctx, caller(owner), req)
		if !a.world.crashed(p) {
			a.world.checkEnqueued(p, owner, req, accepted, err)
		}
		kind = task.KindOf(err)
		if e := (*task.Error)(nil); errors.As(err, &e) {
			wait = e.RetryAfter
		}
	})
	if !heard {
		return task.Unavailable, 0
	}
	return kind, wait
}

// enqueueBatch makes a batch, in which a key may come twice. Each item has a
// delay of its own, by which its calls can be told from the others'.
func (a *actor) enqueueBatch(owner string, n int) {
	w := a.world
	var reqs []task.Request
	for i := range 2 + w.rng.IntN(3) {
		req := a.newRequest(fmt.Sprintf("batch-%d-%d", n, i))
		if w.chance(0.7) && w.focus == nil {
			req.Backend = "batch"
		}
		delay := float64(i)
		req.DelaySeconds, req.ExpiresAt = &delay, task.Time{}
		if w.chance(0.4) {
			k := &keyedRequest{owner: owner, req: req}
			k.req.Key = fmt.Sprintf("key-%d", w.rng.IntN(4))
			req = k.req
			w.keyed = append(w.keyed, k)
		}
		reqs = append(reqs, req)
	}
	if w.chance(0.2) && reqs[0].Key != "" {
		reqs = append(reqs, reqs[0])
	}
	for range 1 + w.rng.IntN(2) {
		a.request("batch for "+owner, func(ctx context.Context, p *proc) {
			p.batch = true
			all := p.service.EnqueueBatch(ctx, caller(owner), reqs)
			if w.crashed(p) {
				return
			}
			if last := len(reqs) - 1; last > 0 && string(reqs[0].Args) == string(reqs[last].Args) { // twins: which is which is not the seed's to say
				twins := []task.Outcome{all[0], all[last]}
				slices.SortFunc(twins, func(x, y task.Outcome) int { return strings.Compare(verdict(x), verdict(y)) })
				all[0], all[last] = twins[0], twins[1]
			}
			for i, accepted := range all {
				w.checkEnqueued(p, owner, reqs[i], accepted.Accepted, accepted.Err)
			}
		})
	}
}

func verdict(a task.Outcome) string {
	if a.Err != nil {
		return a.Err.Error()
	}
	return fmt.Sprint("accepted ", a.Replayed)
}

func describe(owner string, req task.Request) string {
	s := fmt.Sprintf("%s enqueues %s %s at %s", owner, req.TaskName, req.Args, req.Backend)
	if req.Key != "" || req.ID != "" {
		s += " with " + req.Key + req.ID
	}
	return s
}
