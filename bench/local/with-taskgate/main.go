// Command with-taskgate is a worker for the local binary: what TASKGATE_WORKER_URL
// names. Its arguments are a port, the service's URL and a ledger's.
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/taskgate/taskgate/bench/local/rig"
	"github.com/taskgate/taskgate/core/worker"
)

func main() {
	if err := run(os.Args[1], os.Args[2], rig.Ledger(os.Args[3])); err != nil {
		log.Fatal(err)
	}
}

// run serves with the shortest lease, so that what a dead worker held is soon
// taken up again.
func run(port, service string, ledger rig.Ledger) error {
	mux := worker.NewMux()
	mux.HandleFunc("mark", func(ctx context.Context, t *worker.Task) (any, error) {
		var id string
		var lasts int
		if err := t.Args(&id, &lasts); err != nil {
			return nil, err
		}
		return nil, ledger.Mark(ctx, fmt.Appendf(nil, `[%q,%d]`, id, lasts))
	})
	w, err := worker.New(worker.Config{
		Handler: mux, EventsBase: service, Client: rig.Pooled, Lease: 5 * time.Second, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	fmt.Println("http://" + listener.Addr().String())
	return http.Serve(listener, w.PushHandler(context.Background()))
}
