// Command local is taskgate as one binary. It serves the API, keeps tasks and queues
// in an embedded database, and pushes each message to a worker.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/adapters/local/push"
	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/functions/settings"
)

// gcPercent is the GC target percentage unless GOGC is set. The live heap is a few
// MiB; with Go's default of 100 the collector would run a hundred times a second
// under load.
const gcPercent = 200

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "taskgate:", err)
		os.Exit(1)
	}
}

// run executes the command of args. Without a command it serves until ctx ends.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) (err error) {
	switch {
	case len(args) == 1 && args[0] == "version":
		_, err := fmt.Fprintln(stdout, version())
		return err
	case len(args) > 1 || len(args) == 1 && args[0] != "dead-letters":
		return errors.New("usage: taskgate [dead-letters | version]; the settings are environment variables, see docs/configuration.md")
	}
	c, err := readConfig(environ)
	if err != nil {
		return err
	}
	inspect := len(args) == 1
	if _, err := os.Stat(filepath.Join(c.data, "db")); inspect && err != nil {
		return err // do not make a database in a directory whose name was mistyped
	}
	if err := checkData(c.data); err != nil {
		return err
	}
	db, err := embedded.Open(filepath.Join(c.data, "db"), embedded.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if inspect {
		return printDeadLetters(ctx, db, stdout)
	}
	if c.TokenSecrets, err = tokenSecrets(c.data, c.TokenSecrets); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.addr)
	if err != nil {
		return err
	}
	own := "http://" + reachable(listener.Addr())
	if c.PublicURL == "" {
		c.PublicURL = own
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	pusher, err := c.pusher(db, own, log)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           httpapi.New(c.api(db, log)),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	var header string
	if c.Auth == settings.AuthKeys {
		header = ` -H "Authorization: Bearer $KEY"`
	}
	fmt.Fprintf(stdout, banner, listener.Addr(), c.data, c.PublicURL, header, c.PublicURL, header)
	return serve(ctx, db, server, listener, pusher)
}

// version returns one line with the version, the Go release and the platform. The
// go command stamps the version from the Git tag or commit; it is "(devel)" outside
// a Git checkout.
func version() string {
	module := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		module = info.Main.Version
	}
	return fmt.Sprintf("taskgate %s (%s, %s/%s)", module, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// banner shows how to try the service.
const banner = `taskgate listens on http://%s and keeps its data in %s. Enqueue a task and look its result up:

  id=$(curl -s %s/v1/tasks%s -H 'Content-Type: application/json' -d '{"task_name":"add","args":[1,2]}' | sed 's/^{"id":"\([^"]*\)".*/\1/')
  curl -s "%s/v1/tasks/$id?wait=10"%s

`

// reachable returns the address at which this machine can reach the listener. For a
// listener on all addresses that is 127.0.0.1.
func reachable(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
	}
	return addr.String()
}

// stopTime is how long a stop waits for running requests.
const stopTime = 5 * time.Second

// serve runs the API and the pusher until ctx ends or one of them fails.
func serve(ctx context.Context, db *embedded.DB, server *http.Server, listener net.Listener, pusher *push.Pusher) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() { stop(server.Serve(listener)) }()
	go func() {
		select {
		case <-db.Failed():
			stop(errors.New("a write to disk failed"))
		case <-ctx.Done():
		}
	}()
	// The API stops after the pusher, so that workers can report tasks that finish
	// during the stop.
	pushed := pusher.Run(ctx)
	shutdown, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	stopped := server.Shutdown(shutdown)
	if errors.Is(stopped, context.DeadlineExceeded) {
		stopped = server.Close() // these requests wait for a task or a message: their clients repeat them
	}
	err := errors.Join(pushed, stopped)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

// printDeadLetters writes each dead letter as a line of JSON, the oldest first.
func printDeadLetters(ctx context.Context, db *embedded.DB, w io.Writer) error {
	var last embedded.DeadLetter
	for {
		letters, err := db.DeadLetters(ctx, last, 100)
		if err != nil || len(letters) == 0 {
			return err
		}
		for _, letter := range letters {
			line, err := json.Marshal(struct {
				ID         string         `json:"task_id"`
				Queue      string         `json:"queue_name"`
				Deliveries int            `json:"deliveries"`
				At         task.Time      `json:"dead_since"`
				Reported   bool           `json:"reported"`
				Message    jsontext.Value `json:"message"`
			}{letter.ID, letter.Name, letter.Deliveries, letter.At, letter.Reported, letter.Body})
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "%s\n", line); err != nil {
				return err
			}
		}
		last = letters[len(letters)-1]
	}
}
