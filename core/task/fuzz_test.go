package task_test

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
	"github.com/taskgate/taskgate/core/task"
)

func FuzzParseRequest(f *testing.F) {
	for _, seed := range []string{
		sendEmail, everything, `{}`, `[]`, `{"task_name":"t","run_after":"2030-01-31T12:00:00+14:00"}`,
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
		if req.TaskName == "" || !req.Args.IsValid() || !req.Kwargs.IsValid() || (req.Key != "" && !task.ValidKey(req.Key)) {
			t.Errorf("%q was accepted as %+v", body, req)
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

func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add("eyJ0IjoiMjAyNi0xMS0yM1QwOTowMDowMC4xMjM0NTZaIiwiaWQiOiJ4IiwiZiI6IiJ9")
	f.Fuzz(func(t *testing.T, cursor string) {
		r := newRig(t)
		if _, err := r.List(t.Context(), call, task.Filter{}, 1, cursor); err != nil && task.KindOf(err) != task.InvalidCursor {
			t.Errorf("%q: %v", cursor, err)
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

func FuzzParseMessage(f *testing.F) {
	f.Add([]byte(`{"task_name":"t","args":[],"kwargs":{},"id":"x","v":1}`), "")
	f.Add([]byte(`{"task_name":"t","args":[],"kwargs":{}}`), `{"id":"x","v":1,"token":"t"}`)
	f.Fuzz(func(t *testing.T, body []byte, envelope string) {
		m, err := task.ParseMessage(body, map[string]string{task.AttributeEnvelope: envelope})
		if err == nil && m.Args != nil && !m.Args.IsValid() {
			t.Errorf("%q has args %q", body, m.Args)
		}
	})
}
