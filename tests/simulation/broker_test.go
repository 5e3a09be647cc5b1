package simulation_test

import (
	"slices"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
)

// visibility is how long a broker waits for a worker's word before it delivers
// a message again.
const visibility = 40 * time.Second

// broker delivers what a target has accepted: out of order, again when nobody
// says that it is done, and to the dead-letter queue when that was too often.
type broker struct {
	maxDeliveries int // 0 = no bound
	copies        []*parcel
}

// parcel is one copy of a message, which a worker has to acknowledge.
type parcel struct {
	task.Outgoing
	target     *target
	message    task.Message
	deliveries int
	visibleAt  time.Time
	dead       bool // in the dead-letter queue
}

// newTargets makes one target of each sort, and the backends of their names.
func (w *world) newTargets() map[string]task.Backend {
	backends := map[string]task.Backend{}
	add := func(alias string, payload task.Payload, maxDeliveries int, as func(*target) task.Dispatcher) {
		t := &target{world: w, alias: alias, queue: &tasktest.Queue{Now: time.Now, CancelRefs: alias == "refs"}}
		t.maxDeliveries = maxDeliveries
		small := int64(600) // less than a message with long arguments has
		t.queue.LimitsOf = func(queue string, delay time.Duration) task.Limits {
			limits := tasktest.Unlimited(queue, delay)
			if maxDeliveries > 0 {
				most := int64(maxDeliveries)
				limits.MaxDeliveries = &most
			}
			if alias == "small" {
				limits.MaxMessageBytes = &small
			}
			return limits
		}
		w.targets = append(w.targets, t)
		backends[alias] = task.Backend{Dispatcher: as(t), Target: "memory", DefaultQueue: "default", Payload: payload}
	}
	add("default", task.PayloadJSON, 0, func(t *target) task.Dispatcher { return t })
	add("batch", task.PayloadJSON, 6, func(t *target) task.Dispatcher { return batchTarget{t} })
	add("refs", task.PayloadJSON, 0, func(t *target) task.Dispatcher { return t })
	add("small", task.PayloadJSON, 4, func(t *target) task.Dispatcher { return t })
	add("plain", task.PayloadPlain, 6, func(t *target) task.Dispatcher { return t })
	add("atomic", task.PayloadJSON, 5, func(t *target) task.Dispatcher { return atomicTarget{t} })
	return backends
}

// pull takes what is due out of the queues: from now on a cancel finds it no more.
func (w *world) pull(t *target) {
	for _, m := range t.queue.Take() {
		message, err := task.ParseMessage(m.Body, m.Attributes)
		if err != nil {
			w.violated("the message of %s cannot be read: %v", short(m.ID), err)
		}
		t.copies = append(t.copies, &parcel{Outgoing: m, target: t, message: message})
		w.history.add(w, "%s holds %s ready", t.alias, short(m.ID))
	}
}

// deliverable returns the copies that some worker may get now.
func (w *world) deliverable() (all []*parcel) {
	now := w.now()
	for _, t := range w.targets {
		for _, c := range t.copies {
			if !now.Before(c.visibleAt) {
				all = append(all, c)
			}
		}
	}
	return all
}

// deliver hands a copy to a worker of its own, and perhaps to two at once.
func (w *world) deliver(c *parcel) {
	if c.target.maxDeliveries > 0 && c.deliveries >= c.target.maxDeliveries && !c.dead {
		c.dead = true
		w.history.add(w, "%s moves %s to the dead-letter queue", c.target.alias, short(c.ID))
	}
	c.deliveries++
	if !w.faults || !w.chance(w.rate) {
		c.visibleAt = w.now().Add(visibility)
	}
	w.history.add(w, "%s delivers %s, time %d", c.target.alias, short(c.ID), c.deliveries)
	if c.dead {
		w.spawn("undertaker", func(a *actor) { a.bury(c) })
	} else {
		w.spawn("worker", func(a *actor) { a.work(c) })
	}
}

// giveBack acknowledges a copy, or asks for it to be delivered again. That, too,
// may be lost on its way.
func (a *actor) giveBack(c *parcel, done bool) {
	a.step("gives back")
	switch {
	case a.world.faults && a.world.chance(a.world.rate):
		a.note("what it says of %s to the broker is lost", short(c.ID))
	case done:
		c.target.copies = slices.DeleteFunc(c.target.copies, func(other *parcel) bool { return other == c })
		a.note("acknowledges %s", short(c.ID))
	default:
		c.visibleAt = a.world.now().Add(2 * time.Second)
	}
}
