package customhandler_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/taskgate/taskgate/adapters/azure/customhandler"
	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/httpapi/doortest"
	"github.com/taskgate/taskgate/tests/emulators/functionshost"
)

// relayTo is where the test binary, started by the Functions host as a handler,
// passes connections on to: the door that is under test, in the test itself.
const relayTo = "RELAY_TO"

func TestMain(m *testing.M) {
	if to := os.Getenv(relayTo); to != "" {
		fmt.Fprintln(os.Stderr, relay(os.Getenv(customhandler.PortVariable), to))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// relay passes connections on byte by byte, and their ends too.
func relay(port, to string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	for {
		from, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer from.Close()
			door, err := net.Dial("tcp", to)
			if err != nil {
				return
			}
			defer door.Close()
			go func() {
				defer door.Close()
				_, _ = io.Copy(door, from)
			}()
			_, _ = io.Copy(from, door)
		}()
	}
}

const (
	forwarding = `"enableForwardingHttpRequest":true`
	proxying   = `"enableForwardingHttpRequest":true,"enableProxyingHttpRequest":true`
)

// swapped is a handler that is another one in each case.
type swapped struct{ atomic.Pointer[http.Handler] }

func (s *swapped) ServeHTTP(w http.ResponseWriter, r *http.Request) { (*s.Load()).ServeHTTP(w, r) }

// host runs a Functions host whose every path leads to a door, until the test ends.
func host(t *testing.T, custom, authLevel string, door *customhandler.Door) *functionshost.Host {
	t.Helper()
	listener, err := customhandler.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- customhandler.Serve(ctx, listener, door, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	for name, text := range map[string]string{
		"host.json": fmt.Sprintf(`{"version":"2.0","extensions":{"http":{"routePrefix":""}},
			"customHandler":{"description":{"defaultExecutablePath":%q},%s}}`, os.Args[0], custom),
		"all/function.json": fmt.Sprintf(`{"bindings":[{"type":"httpTrigger","direction":"in","name":"req","authLevel":%q,"route":"{*path}"},
			{"type":"http","direction":"out","name":"res"}]}`, authLevel),
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return functionshost.Start(t, dir, functionshost.Options{
		Settings: map[string]string{relayTo: listener.Addr().String()}, HostKey: "secret",
	})
}

func TestTheDoorKeepsTheContract(t *testing.T) {
	for name, mode := range map[string]struct {
		custom string
		known  doortest.Door
	}{
		"forwarding": {forwarding, doortest.Door{JoinsQuery: true, LosesChunked: true}},
		"proxying":   {proxying, doortest.Door{Disconnects: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var handler swapped
			h := host(t, mode.custom, "anonymous", &customhandler.Door{
				Handler: &handler, BaseURL: customhandler.BaseURL("app.azurewebsites.net"),
			})
			doortest.Run(t, func(_ *testing.T, next http.Handler) doortest.Door {
				handler.Store(&next)
				d := mode.known
				d.Deadline = true
				d.Send = doortest.Client(h.URL())
				d.Gateway = func(ctx context.Context) string { return fmt.Sprintf("%+v", httpapi.GatewayOf(ctx)) }
				return d
			})
		})
	}
}
