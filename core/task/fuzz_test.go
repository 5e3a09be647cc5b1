package task_test

import (
	"encoding/base64"
	"maps"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
	"github.com/taskgate/taskgate/core/task"
)

func FuzzParseRequest(f *testing.F) {
	for _, seed := range []string{
		sendEmail, everything, `{}`, `[]`, `{"task_name":"t","run_after":"2030-01-31T12:00:00+14:00"}`,
		`{"task_name":"t","run_after":"0000-01-01T00:00:00+14:00"}`,
		`{"task_name":"t","metadata":{"a":"b"},"delay_seconds":1e9}`, `{"task_name":"t","idempotency_key":"k"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if strictjson.Check(body) != nil {
			return
		}
		req, err := task.ParseRequest(jsontext.Value(body), true)
		if err != nil {
			if e := err.(*task.Error); e.Kind != task.InvalidTask || len(e.Fields) == 0 {
				t.Errorf("%q: %v names no rule", body, err)
			}
			return
		}
		if !task.ValidKey(req.Key) && req.Key != "" || !keepsTheRules(req) {
			t.Fatalf("%q was accepted as %+v", body, req)
		}
		// What the parser accepts is enqueued, or is refused for a reason, and is
		// then read as it was sent.
		r := newRig(t)
		req.Backend = "default"
		accepted, err := r.Enqueue(t.Context(), call, req)
		if err != nil {
			if e := err.(*task.Error); e.Kind == task.Unavailable || e.Kind == task.Internal || e.Msg == "" {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		doc := r.get(t, accepted.Task.ID)
		m, err := task.ParseMessage(r.queue.Held()[0].Body, nil)
		if err != nil || string(doc.Args) != string(req.Args) || string(m.Kwargs) != string(req.Kwargs) || doc.TaskName != req.TaskName ||
			m.TaskName != req.TaskName || !maps.Equal(doc.Metadata, req.Metadata) || !maps.Equal(m.Metadata, req.Metadata) {
			t.Errorf("%q became %+v and the message %+v, %v", body, doc, m, err)
		}
	})
}

// keepsTheRules checks what DESIGN and openapi.yaml say of a request.
func keepsTheRules(req task.Request) bool {
	for k, v := range req.Metadata {
		if k == "" || utf8.RuneCountInString(k) > 40 || k[0] == '_' || utf8.RuneCountInString(v) > 500 {
			return false
		}
	}
	for _, at := range []task.Time{req.RunAfter, req.ExpiresAt} {
		if !at.IsZero() && !roundTrips(at) {
			return false
		}
	}
	n := func(s string, least, most int) bool {
		n := utf8.RuneCountInString(s)
		return n >= least && n <= most && utf8.ValidString(s)
	}
	return n(req.TaskName, 1, 255) && n(req.Backend, 1, 255) && n(req.QueueName, 0, 255) && n(req.Group, 0, 128) && len(req.Metadata) <= 50 &&
		req.Args.Kind() == '[' && req.Args.IsValid() && req.Kwargs.Kind() == '{' && req.Kwargs.IsValid() &&
		req.MaxAttempts >= 0 && req.MaxAttempts <= 1000 && (req.DelaySeconds == nil || *req.DelaySeconds >= 0)
}

// roundTrips reports whether an instant's text is what it must be.
func roundTrips(at task.Time) bool {
	var again task.Time
	return len(at.String()) == len("2030-01-31T12:00:00.000000Z") && again.UnmarshalText([]byte(at.String())) == nil && again.Equal(at.Time)
}

// FuzzTime: what is read as an instant is written so that it is read again, and
// sorts as text.
func FuzzTime(f *testing.F) {
	for _, seed := range []string{"", "2030-01-31T12:00:00Z", "2030-01-31T12:00:00.1234567+14:00", "0000-01-01T00:00:00+14:00", "9999-12-31T23:59:59.9999999-12:00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var at task.Time
		if at.UnmarshalText([]byte(text)) == nil && !at.IsZero() && !roundTrips(at) {
			t.Errorf("%q became %q", text, at)
		}
	})
}

func FuzzParseEvent(f *testing.F) {
	for _, seed := range []string{
		`{"type":"started","worker_id":"w","delivery_id":"d","lease_seconds":45}`,
		`{"type":"progress","attempt":1,"progress":{"fraction":0.5,"message":"m"}}`,
		`{"type":"succeeded","attempt":1,"return_value":{"a":[1.10]}}`,
		`{"type":"failed","attempt":1,"error":{"exception_class_path":"e","traceback":"t"},"retryable":true}`,
		`{"type":"dead_lettered"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if strictjson.Check(body) != nil {
			return
		}
		e, err := task.ParseEvent(jsontext.Value(body))
		if err != nil {
			if e := err.(*task.Error); e.Kind != task.InvalidEvent || len(e.Fields) == 0 {
				t.Errorf("%q: %v names no rule", body, err)
			}
			return
		}
		// Whatever parses must be safe to apply to any state.
		for _, state := range states {
			r := newRig(t)
			id := r.enqueue(t, `{"task_name":"t"`+state.request+`}`).ID
			state.bring(t, r, id)
			finished := r.get(t, id)
			_, _ = r.report(t.Context(), id, e)
			if after := r.get(t, id); finished.IsFinished && after.State != finished.State {
				t.Errorf("%q took a task from %s to %s", body, finished.State, after.State)
			}
		}
	})
}

// FuzzCursor: a cursor is one that a list gave, or is refused.
func FuzzCursor(f *testing.F) {
	f.Add("")
	for _, position := range []string{
		`"2026-11-23T09:00:00.123456Z","id":"01936b5e-0000-7000-8000-000000000002"`, `"2026-11-23T09:00:00.123456Z","id":"x"`,
		`"0000-01-01T00:00:00+14:00","id":"01936b5e-0000-7000-8000-000000000002"`, `null,"id":""`,
	} {
		f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"t":` + position + `,"f":"f6cb2aa0cb00df47"}`)))
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		r := newRig(t)
		for range 2 {
			r.enqueue(t, `{"task_name":"t"}`)
		}
		first, err := r.List(t.Context(), call, task.Filter{}, 1, cursor)
		if err != nil {
			if task.KindOf(err) != task.InvalidCursor {
				t.Errorf("%q: %v", cursor, err)
			}
			return
		}
		if len(first.Items) > 1 {
			t.Errorf("%q: %d tasks, want 1", cursor, len(first.Items))
		}
		if first.NextCursor != "" {
			if rest, err := r.List(t.Context(), call, task.Filter{}, 1, first.NextCursor); err != nil || len(rest.Items) != 1 {
				t.Errorf("%q: the next page: %v", cursor, err)
			}
		}
	})
}

func FuzzToken(f *testing.F) {
	tokens := task.Tokens{Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}}
	const id = "01936b5e-0000-7000-8000-000000000001"
	good := tokens.Sign(id, task.At(epoch), epoch)
	f.Add(good)
	f.Add("v1..")
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := tokens.Verify(token, id, epoch.Add(-time.Hour)); err == nil && token != good {
			t.Errorf("%q was accepted", token)
		}
	})
}

// FuzzParseMessage: what is read as a message is written so that it is read as
// the same.
func FuzzParseMessage(f *testing.F) {
	f.Add([]byte(`{"task_name":"t","args":[],"kwargs":{},"id":"x","v":1}`), "")
	f.Add([]byte(`{"task_name":"t","args":[1.10],"kwargs":{}}`), `{"id":"x","v":1,"token":"t","metadata":{"a":"b"},"enqueued_at":"2030-01-31T12:00:00Z"}`)
	f.Fuzz(func(t *testing.T, body []byte, envelope string) {
		m, err := task.ParseMessage(body, map[string]string{task.AttributeEnvelope: envelope})
		if err != nil {
			return
		}
		again, err := json.Marshal(m, task.JSONOptions)
		if err != nil {
			t.Fatalf("%q, %q: %v", body, envelope, err)
		}
		same, err := task.ParseMessage(again, nil)
		if len(m.Metadata) == 0 {
			m.Metadata = nil
		}
		for _, v := range []*jsontext.Value{&m.Args, &m.Kwargs} { // whitespace aside
			if *v != nil && v.Compact() != nil {
				t.Fatalf("%q has %q", body, *v)
			}
		}
		if err != nil || !reflect.DeepEqual(same, m) {
			t.Errorf("%q, %q: %s is read as %+v, %v", body, envelope, again, same, err)
		}
	})
}
