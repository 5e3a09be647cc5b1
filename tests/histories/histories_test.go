package histories_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
	"github.com/taskgate/taskgate/tests/histories"
)

// serve serves the API over a store and a dispatcher on a loopback socket. If front
// is given, it wraps the handler.
func serve(t *testing.T, store task.Store, d task.Dispatcher, front func(http.Handler) http.Handler) histories.Target {
	t.Helper()
	tokens := task.Tokens{Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}}
	var h http.Handler = httpapi.New(httpapi.Config{
		Service: &task.Service{
			Store: store, Backends: map[string]task.Backend{"default": {Dispatcher: d, Target: "memory", DefaultQueue: "default"}},
			Tokens: tokens, ResultTTL: time.Hour, MaxWait: time.Second, MaxPayloadBytes: 1 << 20,
			Now: time.Now, NewID: task.NewID, Log: slog.New(slog.DiscardHandler),
		},
		Auth: httpapi.AllowAll, PublicURL: "http://127.0.0.1", Log: slog.New(slog.DiscardHandler),
	})
	if front != nil {
		h = front(h)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	_, atomic := d.(task.AtomicDispatcher)
	return histories.Target{
		BaseURL: server.URL, Caller: "local", Atomic: atomic,
		Token: func(id string) string { return tokens.Sign(id, task.Time{}, time.Now().Add(24*time.Hour)) },
	}
}

// far is a store that waits before and after each call, as a store across a network
// does. So the clients' operations overlap inside the service.
func far() *tasktest.Store {
	onTheWay := func(ctx context.Context, _ tasktest.Op, _ string) {
		timer := time.NewTimer(rand.N(400 * time.Microsecond))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	s := &tasktest.Store{}
	s.Before(onTheWay)
	s.After(onTheWay)
	return s
}

func TestHistoriesOfTheServiceAreLinearizable(t *testing.T) {
	t.Parallel()
	o := histories.Options{Histories: 300}
	if testing.Short() {
		o.Histories = 100
	}
	histories.Check(t, serve(t, far(), &tasktest.Queue{}, nil), o)
}

func TestHistoriesWithLapsingLeasesAreLinearizable(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for leases")
	}
	t.Parallel()
	histories.Check(t, serve(t, far(), &tasktest.Queue{}, nil), histories.Options{Histories: 40, Lapsing: 40})
}
