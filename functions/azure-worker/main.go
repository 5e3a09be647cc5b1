// Command azure-worker is the example worker on Azure Functions, an app of its
// own: a function for each queue, and one for what each queue gave up on. Put
// your own handlers in place of the demo's.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/taskgate/taskgate/adapters/azure/customhandler"
	"github.com/taskgate/taskgate/adapters/azure/functionsworker"
	"github.com/taskgate/taskgate/core/worker"
	"github.com/taskgate/taskgate/functions/demo"
	"github.com/taskgate/taskgate/functions/settings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Environ()); err != nil {
		fmt.Fprintln(os.Stderr, "taskgate-worker:", err)
		os.Exit(1) // the host starts it again, at most three times
	}
	os.Exit(customhandler.ExitRestart)
}

func run(ctx context.Context, environ []string) error {
	env := settings.NewEnv(environ)
	eventsBase := env.RequiredURL("TASKGATE_EVENTS_BASE")
	port := 0
	if env.Required(customhandler.PortVariable) != "" { // the host sets it
		port = env.Int(customhandler.PortVariable, 0, 1, 65535)
	}
	timeout := functionTimeout(env)
	if err := env.Err(); err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil)) // what goes to stderr, the host takes for errors
	w, err := worker.New(worker.Config{Handler: demo.Mux(), EventsBase: eventsBase, Log: log})
	if err != nil {
		return err
	}
	listener, err := customhandler.Listen(port)
	if err != nil {
		return err
	}
	return customhandler.Serve(ctx, listener, functionsworker.New(ctx, functionsworker.Config{
		Functions: functions(w), MaxPause: maxPause, Timeout: timeout, Log: log,
	}), log)
}

// functionTimeout reads the time after which the host kills this process.
func functionTimeout(env *settings.Env) time.Duration {
	fallback := functionsworker.DefaultTimeout
	if env.String("WEBSITE_SKU", "") == "Dynamic" { // the Consumption plan
		fallback = functionsworker.ConsumptionTimeout
	}
	text, err := os.ReadFile(filepath.Join(env.String("FUNCTIONS_APP_ROOT_PATH", "."), "host.json"))
	var timeout time.Duration
	if err == nil {
		timeout, err = functionsworker.Timeout(text, env.String("AzureFunctionsJobHost__functionTimeout", ""), fallback)
	}
	if err != nil {
		env.Failf("the app's functionTimeout cannot be read: %v", err)
	}
	return timeout
}

// maxPause is below Service Bus' default lock of a minute. Ten deliveries, the
// queues' limit, are then more than a few leases apart.
const maxPause = 30 * time.Second

// functions says what each function of the app is for, by its directory.
func functions(w *worker.Worker) map[string]functionsworker.Function {
	work := functionsworker.Function{Deliver: w.Process}
	// A dead letter that is not acknowledged stays where it is, and comes again
	// at once and for ever, unless it is held.
	deadLetters := functionsworker.Function{Deliver: w.DeadLetter, Pause: maxPause}
	return map[string]functionsworker.Function{
		"servicebus-queue":              work,
		"servicebus-queue-dead-letters": deadLetters,
		"servicebus-topic":              work,
		"servicebus-topic-dead-letters": deadLetters,
		"storage-queue":                 work,
		"storage-queue-poison":          deadLetters,
	}
}
