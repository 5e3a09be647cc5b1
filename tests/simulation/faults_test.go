package simulation_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// fate is what becomes of one call to the store or to a target.
type fate int

const (
	fine        fate = iota
	refused          // turned away, not applied
	answerLost       // applied, and nobody hears of it
	givenUp          // not answered in time, and applied some time later
	crashBefore      // the calling process ends before it has called
	crashAfter       // the calling process ends when the call is applied
	fates
)

var fateNames = [...]string{"", "refused", "applied, answer lost", "given up, under way", "CRASH before", "CRASH after"}

// fate chooses for one call. A call whose time is up never succeeds.
func (w *world) fate(c *call) fate {
	switch {
	case c.effect == nil || !w.faults:
		return fine
	case c.ctx.Err() != nil:
		return pick(w, []fate{refused, answerLost, givenUp})
	case !w.chance(w.rate):
		return fine
	}
	return refused + fate(w.rng.IntN(int(fates-refused)))
}

func unavailable(why string) error { return &task.Error{Kind: task.Unavailable, Msg: why} }

// crashed is what a process that is no more would be told.
func crashed() error { return unavailable("the process has crashed") }

// history is the numbered list of what happened, for people.
type history struct {
	on     bool
	closed bool // what follows is of no interest
	step   int
	text   strings.Builder
}

func (h *history) add(w *world, format string, args ...any) {
	h.step++
	if h.on && !h.closed {
		fmt.Fprintf(&h.text, "%4d %10s  ", h.step, w.now().Sub(w.begin).Round(time.Millisecond))
		fmt.Fprintf(&h.text, format, args...)
		h.text.WriteByte('\n')
	}
}

// outcome says how a call ended.
func outcome(f fate, err error) string {
	switch {
	case f != fine:
		return ": " + fateNames[f]
	case err != nil:
		return ": " + err.Error()
	}
	return ""
}

// short cuts an id to what tells it apart.
func short(id string) string {
	if len(id) > 8 && strings.HasPrefix(id, "01936b5e") {
		return "#" + strings.TrimLeft(id[24:], "0")
	}
	return id[:min(8, len(id))]
}
