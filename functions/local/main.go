// Command local is taskgate as one binary: the API, an embedded durable store
// and queue, and a push of every message to a worker.
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

// gcPercent is how much of it, in percent of what is in use, the process lets
// gather unless GOGC says otherwise. What is in use is a few MiB, and at Go's
// 100 it would be looked through a hundred times a second under load.
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

// run does what the command line asks: nothing = serve until ctx ends.
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
		return err // a mistyped directory has no dead letters, and must not be made
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

// version returns one line: the version that the go command stamped from the Git
// tag or commit ("(devel)" outside a Git checkout), the Go release, the platform.
func version() string {
	module := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		module = info.Main.Version
	}
	return fmt.Sprintf("taskgate %s (%s, %s/%s)", module, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// banner shows how to try it.
const banner = `taskgate listens on http://%s and keeps its data in %s. Enqueue a task and look its result up:

  id=$(curl -s %s/v1/tasks%s -H 'Content-Type: application/json' -d '{"task_name":"add","args":[1,2]}' | sed 's/^{"id":"\([^"]*\)".*/\1/')
  curl -s "%s/v1/tasks/$id?wait=10"%s

`

// reachable returns where this machine reaches a listener: one on every address
// is on its own, too.
func reachable(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
	}
	return addr.String()
}

// stopTime is how long a stop waits for the requests under way.
const stopTime = 5 * time.Second

// serve runs the API and the push until ctx ends or either of them cannot go on.
func serve(ctx context.Context, db *embedded.DB, server *http.Server, listener net.Listener, pusher *push.Pusher) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() { stop(server.Serve(listener)) }()
	go func() {
		select {
		case <-db.Failed():
			stop(errors.New("the disk refused a write"))
		case <-ctx.Done():
		}
	}()
	// The API outlives the push: tasks that finish during a stop still report.
	pushed := pusher.Run(ctx)
	shutdown, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	err := errors.Join(pushed, server.Shutdown(shutdown))
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

// printDeadLetters writes the dead letters as JSON lines, the oldest first.
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
