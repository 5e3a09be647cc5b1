package dispatchtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/task"
)

// message returns a message as the service makes it, due after delay (0 = at
// once), by the route that the limits name.
func (s Subject) message(ctx context.Context, delay time.Duration) task.Outgoing {
	id := task.KeyedID("dispatchtest", task.NewID()) // of the kind that may come again
	m := task.Outgoing{
		ID:    id,
		Queue: s.Queue,
		Route: s.Dispatcher.Limits(ctx, s.Queue, delay).Route,
		Body:  body(id, `"args":[1],"kwargs":{}`),
		Attributes: map[string]string{
			task.AttributeTaskID:      id,
			task.AttributeTaskName:    "app.tasks.send",
			task.AttributeTraceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		},
	}
	if delay != 0 {
		m.Due = task.At(s.now().Add(delay))
	}
	return m
}

// body returns a message's body with further members.
func body(id, members string) []byte {
	return fmt.Appendf(nil, `{"task_name":"app.tasks.send",%s,"id":%q,"v":1}`, members, id)
}

// sized makes m's body n bytes long.
func sized(m task.Outgoing, n int) task.Outgoing {
	empty := len(body(m.ID, `"args":[""],"kwargs":{}`))
	m.Body = body(m.ID, `"args":["`+strings.Repeat("x", max(n-empty, 0))+`"],"kwargs":{}`)
	return m
}

// inbox collects what arrives, by the id that the body carries.
type inbox map[string][]Delivery

// receive takes out what arrives within the time, until enough says so.
func (s Subject) receive(ctx context.Context, within time.Duration, in inbox, enough func() bool, ms ...task.Outgoing) error {
	deadline, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for !enough() {
		d, err := s.Receive(deadline)
		if deadline.Err() != nil && ctx.Err() == nil && err != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("Receive: %w", err)
		}
		for _, m := range ms {
			if bytes.Contains(d.Body, []byte(m.ID)) {
				in[m.ID] = append(in[m.ID], d)
				if now := s.now(); now.Before(m.Due.Time) {
					return fmt.Errorf("a message came %v before it was due", m.Due.Sub(now))
				}
			}
		}
	}
	return nil
}

// expect waits until each message has arrived, and returns the deliveries.
func (s Subject) expect(ctx context.Context, ms ...task.Outgoing) (inbox, error) {
	in := inbox{}
	missing := func() (n int) {
		for _, m := range ms {
			if len(in[m.ID]) == 0 {
				n++
			}
		}
		return n
	}
	err := s.receive(ctx, s.patience(), in, func() bool { return missing() == 0 }, ms...)
	if err == nil && missing() > 0 {
		err = fmt.Errorf("of %d messages %d have not arrived", len(ms), missing())
	}
	return in, err
}

// unchanged waits until each message has arrived, and checks it.
func (s Subject) unchanged(ctx context.Context, ms ...task.Outgoing) error {
	in, err := s.expect(ctx, ms...)
	if err != nil {
		return err
	}
	for _, m := range ms {
		for _, d := range in[m.ID] {
			if !bytes.Equal(d.Body, m.Body) {
				return fmt.Errorf("the body arrived as\n%s\nand was\n%s", clip(d.Body), clip(m.Body))
			}
			if !s.NoAttributes && !maps.Equal(d.Attributes, m.Attributes) {
				return fmt.Errorf("the attributes arrived as %q and were %q", d.Attributes, m.Attributes)
			}
		}
	}
	return nil
}

// nothing checks that none of the messages arrives.
func (s Subject) nothing(ctx context.Context, ms ...task.Outgoing) error {
	in := inbox{}
	err := s.receive(ctx, orElse(s.Quiet, 100*time.Millisecond), in, func() bool { return len(in) > 0 }, ms...)
	if err == nil && len(in) > 0 {
		err = errors.New("a message arrived that should not have")
	}
	return err
}

// sameJSON checks that two texts are the same JSON, token by token: numbers
// digit for digit, members in their order, strings by their characters however
// they are escaped.
func sameJSON(a, b []byte) error {
	x, y := decoder(a), decoder(b)
	for {
		s, errS := x.ReadToken()
		t, errT := y.ReadToken()
		if errS == io.EOF && errT == io.EOF {
			return nil
		}
		if errS != nil || errT != nil || s.Kind() != t.Kind() || s.String() != t.String() {
			return fmt.Errorf("the body arrived as\n%s\nand was\n%s", clip(a), clip(b))
		}
	}
}

func decoder(text []byte) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true))
}

func clip(b []byte) []byte {
	if len(b) > 400 {
		return append(b[:400:400], "…"...)
	}
	return b
}
