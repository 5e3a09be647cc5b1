package dynamostore_test

import (
	"log/slog"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/taskgate/taskgate/adapters/aws/dynamostore"
	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/histories"
)

// TestSoakHistoriesAreLinearizable: over this store too, what clients are told of
// one task at once is what one task alone could have said.
func TestSoakHistoriesAreLinearizable(t *testing.T) {
	o := histories.Options{Histories: 100, InFlight: 16}
	switch {
	case os.Getenv("TASKGATE_SOAK") != "":
		o.Histories, o.Lapsing = 3_000, 40
	case testing.Short():
		o.Histories = 40
	}
	t.Parallel()
	e := emulators.DynamoDB(t)
	tokens := task.Tokens{Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}}
	server := httptest.NewServer(httpapi.New(httpapi.Config{
		Service: &task.Service{
			Store:    create(t, e.URL()),
			Backends: map[string]task.Backend{"default": {Dispatcher: &tasktest.Queue{}, Target: "memory", DefaultQueue: "default"}},
			Tokens:   tokens, ResultTTL: time.Hour, MaxPayloadBytes: dynamostore.MaxPayloadBytes,
			Now: time.Now, NewID: task.NewID, Log: slog.New(slog.DiscardHandler),
		},
		Auth: httpapi.AllowAll, PublicURL: "http://127.0.0.1", Log: slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(server.Close)
	histories.Check(t, histories.Target{
		BaseURL: server.URL, Caller: "local",
		Token: func(id string) string { return tokens.Sign(id, task.Time{}, time.Now().Add(24*time.Hour)) },
	}, o)
}
