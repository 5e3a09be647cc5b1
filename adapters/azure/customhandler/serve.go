package customhandler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"
)

// PortVariable is the environment variable with the port on which the host
// wants the handler to listen.
const PortVariable = "FUNCTIONS_CUSTOMHANDLER_PORT"

// ExitRestart is the exit code of a handler that was asked to stop. If the host
// lives on, it starts the handler again and counts no error. After code 0 it never
// starts the handler again; after the third error it shuts itself down.
// https://github.com/Azure/azure-functions-host/blob/v4.1037.0/src/WebJobs.Script/Workers/ProcessManagement/WorkerProcess.cs
const ExitRestart = 200

// stopTime is how long a stop waits for requests under way. The host may kill
// the process sooner.
const stopTime = 10 * time.Second

// Listen opens the port for the host alone, which is on the same machine.
func Listen(port int) (net.Listener, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listen where %s says: %w", PortVariable, err)
	}
	return listener, nil
}

// Serve answers the host until ctx ends, which is no error, or until it cannot go
// on. The host asks for / until it is answered, and then takes the handler to be
// ready. Requests have only the handler's own time-outs: the host is the only
// client, and an invocation of a worker may last as long as functionTimeout.
func Serve(ctx context.Context, listener net.Listener, h http.Handler, log *slog.Logger) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelError),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve the Functions host: %w", err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}
