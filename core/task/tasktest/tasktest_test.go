package tasktest_test

import (
	"context"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
)

func TestFaultsDoWhatTheirNamesSay(t *testing.T) {
	for _, c := range []struct {
		name    string
		fault   tasktest.Fault
		applied bool
	}{
		{"lost", tasktest.Lost, false},
		{"refused", tasktest.Refused, false},
		{"refused with", tasktest.RefusedWith(task.Errorf(task.Unavailable, "busy")), false},
		{"failed but applied", tasktest.FailedButApplied, true},
		{"applied with", tasktest.AppliedWith(task.Errorf(task.Unavailable, "busy")), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var store tasktest.Store
			var queue tasktest.Queue
			atomic := tasktest.Atomic{Queue: &queue, Store: &store}
			store.Inject(tasktest.Create, tasktest.OK, c.fault)
			queue.Inject(tasktest.Dispatch, tasktest.OK, c.fault)
			queue.Inject(tasktest.BatchItem, c.fault)
			queue.Inject(tasktest.CreateAndDispatch, tasktest.OK, c.fault)
			queue.Inject(tasktest.BatchEntry, tasktest.OK, c.fault)
			want := map[bool]int{true: 1}[c.applied]

			_, first := store.Create(t.Context(), &task.Record{ID: "a"})
			_, second := store.Create(t.Context(), &task.Record{ID: "b"})
			if first != nil || task.KindOf(second) != task.Unavailable || store.Len() != 1+want {
				t.Errorf("Create: %v, %v, and %d records", first, second, store.Len())
			}
			_, first = queue.Dispatch(t.Context(), task.Outgoing{ID: "a"})
			_, second = queue.Dispatch(t.Context(), task.Outgoing{ID: "b"})
			if n := len(queue.Take()); first != nil || task.KindOf(second) != task.Unavailable || n != 1+want {
				t.Errorf("Dispatch: %v, %v, and %d messages", first, second, n)
			}
			results := queue.DispatchBatch(t.Context(), []task.Outgoing{{ID: "a"}, {ID: "b"}})
			if n := len(queue.Take()); task.KindOf(results[0].Err) != task.Unavailable || results[1].Err != nil || n != 1+want {
				t.Errorf("DispatchBatch: %v, and %d messages", results, n)
			}
			entry := func(id string) task.Entry {
				return task.Entry{Record: &task.Record{ID: id}, Message: task.Outgoing{ID: id}}
			}
			entries := atomic.CreateAndDispatch(t.Context(), []task.Entry{entry("c"), entry("d")})
			if n := len(queue.Take()); entries[0].Err != nil || task.KindOf(entries[1].Err) != task.Unavailable || n != 1+want || store.Len() != 2+2*want {
				t.Errorf("CreateAndDispatch, an entry: %v, %d messages and %d records", entries, n, store.Len())
			}
			entries = atomic.CreateAndDispatch(t.Context(), []task.Entry{entry("e")})
			if n := len(queue.Take()); task.KindOf(entries[0].Err) != task.Unavailable || n != want || store.Len() != 2+3*want {
				t.Errorf("CreateAndDispatch: %v, %d messages and %d records", entries, n, store.Len())
			}
		})
	}
}

func TestHeldCallWaitsAtItsStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var store tasktest.Store
		before, releaseBefore := store.HoldBefore(tasktest.Create)
		after, releaseAfter := store.HoldAfter(tasktest.Create)
		done := make(chan error)
		go func() {
			_, err := store.Create(t.Context(), &task.Record{ID: "a"})
			done <- err
		}()
		<-before
		if store.Len() != 0 {
			t.Error("a call held before its step has taken effect")
		}
		releaseBefore()
		<-after
		if store.Len() != 1 {
			t.Error("a call held after its step has not taken effect")
		}
		if _, err := store.Create(t.Context(), &task.Record{ID: "b"}); err != nil {
			t.Error("a hold is for one call:", err)
		}
		releaseAfter()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestHeldCallOfAnEndedRequestIsNotApplied(t *testing.T) {
	var store tasktest.Store
	reached, release := store.HoldBefore(tasktest.Create)
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-reached; cancel() }()
	if _, err := store.Create(ctx, &task.Record{ID: "a"}); task.KindOf(err) != task.Unavailable || store.Len() != 0 {
		t.Error(err, store.Len())
	}
}

func TestReceiveWaitsUntilAMessageIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var queue tasktest.Queue
		start := time.Now()
		for id, delay := range map[string]time.Duration{"late": 3 * time.Second, "soon": time.Second} {
			if _, err := queue.Dispatch(t.Context(), task.Outgoing{ID: id, Due: task.At(start.Add(delay))}); err != nil {
				t.Fatal(err)
			}
		}
		if m, err := queue.Receive(t.Context()); m.ID != "soon" || err != nil || time.Since(start) != time.Second {
			t.Errorf("received %q after %v: %v", m.ID, time.Since(start), err)
		}
		queue.Advance(2 * time.Second)
		if m, err := queue.Receive(t.Context()); m.ID != "late" || err != nil || time.Since(start) != time.Second {
			t.Errorf("received %q after %v: %v", m.ID, time.Since(start), err)
		}
	})
}

// A field that a later change adds is covered too: the record is filled by reflection.
func TestCloneSharesNothing(t *testing.T) {
	var r task.Record
	fill(reflect.ValueOf(&r).Elem())
	c := tasktest.Clone(&r)
	if !reflect.DeepEqual(&r, c) {
		t.Fatalf("a clone differs: %+v, %+v", r, *c)
	}
	a, b := reflect.ValueOf(r), reflect.ValueOf(*c)
	for i := range a.NumField() {
		switch a.Field(i).Kind() {
		case reflect.Pointer, reflect.Map, reflect.Slice:
			if a.Field(i).Pointer() == b.Field(i).Pointer() {
				t.Errorf("a clone shares %s", a.Type().Field(i).Name)
			}
		}
	}
}

// fill gives v, and everything in it that can be set, a value.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Int:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k"), reflect.ValueOf(`"v"`).Convert(v.Type().Elem()))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[task.Time]() {
			v.Set(reflect.ValueOf(task.At(time.Unix(1, 1000))))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	}
}
