package worker_test

import (
	"context"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/taskgate/taskgate/core/worker"
)

// A worker that taskgate pushes to: run taskgate with
// TASKGATE_WORKER_URL=http://127.0.0.1:9000.
func Example() {
	mux := worker.NewMux()
	mux.HandleFunc("resize", func(ctx context.Context, t *worker.Task) (any, error) {
		var image string
		if err := t.Args(&image); err != nil {
			return nil, err // not retried: other arguments will not come
		}
		options := struct {
			Width int `json:"width"`
		}{Width: 640}
		if err := t.Kwargs(&options); err != nil {
			return nil, err
		}
		for done := range 10 {
			if err := t.Progress(ctx, float64(done)/10, "resizing "+image); err != nil {
				return nil, err // cancelled, lost, or the worker is stopping
			}
			// … a tenth of the work
		}
		return map[string]any{"image": image, "width": options.Width}, nil
	})

	w, err := worker.New(worker.Config{
		Handler:    mux,
		EventsBase: os.Getenv("TASKGATE_EVENTS_BASE"), // http://127.0.0.1:8080
	})
	if err != nil {
		log.Fatal(err)
	}
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	server := &http.Server{Addr: "127.0.0.1:9000", Handler: w.PushHandler(stop), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.ListenAndServe(); err != http.ErrServerClosed {
			log.Fatal(err)
		}
	}()
	<-stop.Done()
	// The handlers' contexts have ended; Shutdown waits for the last reports.
	if err := server.Shutdown(context.Background()); err != nil {
		log.Print(err)
	}
}

// A trigger of one's own: receive, process, acknowledge.
func ExampleWorker_Process() {
	var (
		w       *worker.Worker // from New
		receive func() (body []byte, done func(), again func(time.Duration))
	)
	loop := func(ctx context.Context) {
		for ctx.Err() == nil {
			body, done, again := receive()
			if outcome := w.Process(ctx, worker.Delivery{Body: body}); outcome.Acknowledge {
				done()
			} else {
				again(outcome.Delay)
			}
		}
	}
	_ = loop
}
