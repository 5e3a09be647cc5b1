// Command azure is taskgate as an Azure Functions custom handler: the API, with
// its records in Cosmos DB, in front of Service Bus and Storage queues.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/taskgate/taskgate/adapters/azure/cosmosstore"
	"github.com/taskgate/taskgate/adapters/azure/credential"
	"github.com/taskgate/taskgate/adapters/azure/customhandler"
	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/functions/wiring"
)

// loaders are your own credentials, by the names that a *_CREDENTIAL_LOADER then
// knows beside the built-in ones.
func loaders() map[string]credential.Loader { return nil }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Environ(), loaders()); err != nil {
		fmt.Fprintln(os.Stderr, "taskgate:", err)
		os.Exit(1) // the host starts it again, at most three times
	}
	os.Exit(customhandler.ExitRestart)
}

// run serves the Functions host until ctx ends.
func run(ctx context.Context, environ []string, own map[string]credential.Loader) error {
	c, err := readConfig(environ, slices.Sorted(maps.Keys(own)))
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil)) // what goes to stderr, the host takes for errors
	clouds, err := connect(c, own)
	if err != nil {
		return err
	}
	listener, err := customhandler.Listen(c.port)
	if err != nil {
		return err
	}
	go clouds.prewarm(ctx, log)
	return customhandler.Serve(ctx, listener, &customhandler.Door{
		Handler: httpapi.New(wiring.API(c.Service, clouds.store, cosmosstore.MaxPayloadBytes, clouds.backends, log)),
		BaseURL: customhandler.BaseURL(c.hostname),
		Caller:  c.caller(),
	}, log)
}
