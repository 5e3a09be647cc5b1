package histories_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
	"github.com/taskgate/taskgate/tests/histories"
)

// broken is a store with one defect. Where a field is nil, the store is correct.
type broken struct {
	*tasktest.Store
	get     func(s *tasktest.Store, r *task.Record) (*task.Record, error)
	replace func(s *tasktest.Store, r *task.Record) error
}

func (b broken) Get(ctx context.Context, id string) (*task.Record, error) {
	r, err := b.Store.Get(ctx, id)
	if err == nil && b.get != nil {
		return b.get(b.Store, r)
	}
	return r, err
}

func (b broken) Replace(ctx context.Context, r *task.Record) error {
	if b.replace != nil {
		return b.replace(b.Store, r)
	}
	return b.Store.Replace(ctx, r)
}

// nowAndThen decides how often a defect shows.
func nowAndThen() bool { return rand.IntN(4) == 0 }

// force overwrites the record with r.
func force(s *tasktest.Store, r *task.Record) error {
	there, err := s.Get(context.Background(), r.ID)
	if err != nil {
		return err
	}
	r.Revision = there.Revision
	return s.Replace(context.Background(), r)
}

// storeMutants are defects of a store, or of a service that misreads its store.
func storeMutants() map[string]broken {
	var old sync.Map // by id: an earlier version
	return map[string]broken{
		"a read is stale": {get: func(_ *tasktest.Store, r *task.Record) (*task.Record, error) {
			if earlier, there := old.LoadOrStore(r.ID, r); there && nowAndThen() {
				return tasktest.Clone(earlier.(*task.Record)), nil
			}
			return tasktest.Clone(r), nil
		}},
		"a record is not found for a moment": {get: func(_ *tasktest.Store, r *task.Record) (*task.Record, error) {
			if nowAndThen() {
				return nil, task.Errorf(task.NotStored, "there is no record %s", r.ID)
			}
			return r, nil
		}},
		"a compare-and-swap does not compare": {replace: func(s *tasktest.Store, r *task.Record) error {
			for {
				if err := force(s, r); task.KindOf(err) != task.Conflict {
					return err
				}
			}
		}},
		"a write is acknowledged and lost": {replace: func(s *tasktest.Store, r *task.Record) error {
			if nowAndThen() {
				return nil
			}
			return s.Replace(context.Background(), r)
		}},
		"a write is acknowledged before it can be seen": {replace: func(s *tasktest.Store, r *task.Record) error {
			late := tasktest.Clone(r)
			time.AfterFunc(2*time.Millisecond, func() { _ = s.Replace(context.Background(), late) })
			return nil
		}},
		"a terminal state is forgotten": {get: func(_ *tasktest.Store, r *task.Record) (*task.Record, error) {
			if r.Finished() && nowAndThen() {
				r.Status, r.Ended, r.AttemptEnds = task.Ready, "", nil
			}
			return r, nil
		}},
		"a lease binds nobody": {get: func(_ *tasktest.Store, r *task.Record) (*task.Record, error) {
			if r.Status == task.Running {
				r.LeaseUntil = task.At(time.Now().Add(-time.Second))
			}
			return r, nil
		}},
		"a cancel request is dropped": {replace: func(s *tasktest.Store, r *task.Record) error {
			r.CancelRequested = false
			return s.Replace(context.Background(), r)
		}},
	}
}

var (
	eventAttempt  = regexp.MustCompile(`"attempt":\d+`)
	eventDelivery = regexp.MustCompile(`"delivery_id":"\d+"`)
	otherRequest  = regexp.MustCompile(`"args":\[1\]`)
)

// frontMutants are defects in front of the store.
func frontMutants(store *tasktest.Store) map[string]func(http.Handler) http.Handler {
	// rewritten changes each request's body before the handler sees it.
	rewritten := func(change func(r *http.Request, body []byte) []byte) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					return // the client has hung up
				}
				body = change(r, body)
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
				h.ServeHTTP(w, r)
			})
		}
	}
	var deliveries atomic.Int64
	return map[string]func(http.Handler) http.Handler{
		"a stale attempt succeeds": rewritten(func(r *http.Request, body []byte) []byte {
			id := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/v1/tasks/"), "/events")
			if there, err := store.Get(r.Context(), id); err == nil && there.Attempts() > 0 {
				return eventAttempt.ReplaceAll(body, []byte(`"attempt":`+strconv.Itoa(there.Attempts())))
			}
			return body
		}),
		"a repeated start is another's": rewritten(func(_ *http.Request, body []byte) []byte {
			return eventDelivery.ReplaceAll(body, []byte(`"delivery_id":"x`+strconv.FormatInt(deliveries.Add(1), 10)+`"`))
		}),
		"one key makes two tasks": rewritten(func(r *http.Request, body []byte) []byte {
			if key := r.Header.Get("Idempotency-Key"); key != "" && nowAndThen() {
				r.Header.Set("Idempotency-Key", key+"'")
			}
			return body
		}),
		"another request's key is taken": rewritten(func(_ *http.Request, body []byte) []byte {
			return otherRequest.ReplaceAll(body, []byte(`"args":[0]`))
		}),
		"a replayed answer is passed off as new": func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				seen := httptest.NewRecorder()
				h.ServeHTTP(seen, r)
				seen.Header().Del("Idempotent-Replayed")
				pass(w, seen)
			})
		},
		"a look-up or a cancel is answered from a cache": cached,
	}
}

// pass forwards a recorded answer.
func pass(w http.ResponseWriter, seen *httptest.ResponseRecorder) {
	for name, values := range seen.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(seen.Code)
	_, _ = w.Write(seen.Body.Bytes())
}

// cached gives each look-up and each cancel the first answer again.
func cached(h http.Handler) http.Handler {
	var answers sync.Map // by method and path
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/events") || r.URL.Path == "/v1/tasks" {
			h.ServeHTTP(w, r)
			return
		}
		seen := httptest.NewRecorder()
		if earlier, there := answers.Load(r.Method + r.URL.Path); there {
			seen = earlier.(*httptest.ResponseRecorder)
		} else {
			h.ServeHTTP(seen, r)
			answers.Store(r.Method+r.URL.Path, seen)
		}
		pass(w, seen)
	})
}

func found(t *testing.T, target histories.Target) {
	t.Helper()
	report, err := histories.Run(t.Context(), target, histories.Options{Histories: 500, InFlight: 8, Seed: 1})
	v, ok := errors.AsType[*histories.Violation](err)
	if !ok {
		t.Fatalf("not noticed: %v, %v", err, report)
	}
	if v.Unknown || !strings.Contains(v.Error(), "of seed 1 is not linearizable") {
		t.Error(v)
	}
	t.Logf("noticed in history %d", v.Number)
}

func TestMutantsAreNoticed(t *testing.T) {
	if testing.Short() {
		t.Skip("the same without the race detector will do")
	}
	for name, store := range storeMutants() {
		t.Run(name, func(t *testing.T) {
			store.Store = far()
			found(t, serve(t, store, &tasktest.Queue{}, nil))
		})
	}
	store := far()
	for name, front := range frontMutants(store) {
		t.Run(name, func(t *testing.T) {
			found(t, serve(t, store, &tasktest.Queue{}, front))
		})
	}
}
