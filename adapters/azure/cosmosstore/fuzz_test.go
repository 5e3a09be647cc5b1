package cosmosstore

import (
	"reflect"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// FuzzDecode: an item is refused, or is a record that is written and read as the
// same.
func FuzzDecode(f *testing.F) {
	data, err := encode(&task.Record{
		ID: "id-1", TaskName: "send", Status: task.Running, EnqueuedAt: at, Args: "[1]", Kwargs: "{}", DeleteAfter: at.Plus(time.Hour),
		Errors: []task.TaskError{{ExceptionClassPath: "e", Traceback: "t"}}, WorkerIDs: []string{"w"}, Metadata: map[string]string{"a": "b"},
		Progress: &task.Progress{Fraction: 0.5}, Keyed: &task.Keyed{Fingerprint: "f"}, Refusal: &task.Refusal{Kind: task.MessageRejected},
	}, at.Time)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	for _, seed := range []string{`{}`, `[]`, `{"enqueued_at":"0000-01-01T00:00:00+14:00"}`, `{"_etag":1}`, `{"id":"\ud800"}`, `{"progress":{"fraction":1e999}}`, `{"priority":1.5}`, `{"metadata":{}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decode(data)
		if err != nil {
			return
		}
		again, err := encode(r, at.Time)
		if err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		same, err := decode(again)
		if err != nil {
			t.Fatalf("%q became %q: %v", data, again, err)
		}
		same.Revision = r.Revision // the service's own, and not written
		if !reflect.DeepEqual(normal(same), normal(r)) {
			t.Errorf("%q is read as %+v, and then as %+v", data, r, same)
		}
	})
}

// normal is the record without what an item does not tell apart.
func normal(r *task.Record) *task.Record {
	if len(r.Metadata) == 0 {
		r.Metadata = nil
	}
	if len(r.Errors) == 0 {
		r.Errors = nil
	}
	if len(r.WorkerIDs) == 0 {
		r.WorkerIDs = nil
	}
	if len(r.AttemptEnds) == 0 {
		r.AttemptEnds = nil
	}
	if len(r.AttemptLog) == 0 {
		r.AttemptLog = nil
	}
	for name, v := range r.Unknown { // the value is kept, and its spelling need not be
		v = v.Clone()
		if v.Canonicalize() == nil {
			r.Unknown[name] = v
		}
	}
	return r
}
