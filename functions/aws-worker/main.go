// Command aws-worker is the example worker on AWS Lambda: one function for the
// queues, topics, schedules and invocations that trigger it, and for dead-letter
// queues. Put your own handlers in place of the demo's.
package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/taskgate/taskgate/adapters/aws/lambdalog"
	"github.com/taskgate/taskgate/adapters/aws/lambdaworker"
	"github.com/taskgate/taskgate/core/worker"
	"github.com/taskgate/taskgate/functions/demo"
)

func main() {
	log := slog.New(lambdalog.New(slog.NewJSONHandler(os.Stdout, nil)))
	c, err := readConfig(os.Environ())
	if err != nil {
		fail(err)
	}
	w, err := worker.New(worker.Config{Handler: demo.Mux(), EventsBase: c.eventsBase, Log: log})
	if err != nil {
		fail(err)
	}
	lambda.Start(&lambdaworker.Handler{Worker: w, DeadLetterQueues: c.deadLetterQueues})
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "taskgate-worker:", err)
	os.Exit(1)
}
