// Package lambdaworker is a worker's front door on AWS Lambda: it turns what
// triggers a function (an SQS queue, an SNS topic, an asynchronous invocation,
// EventBridge Scheduler) into deliveries to a worker, and the outcomes into what
// makes each trigger bring back exactly what is not done.
//
// An SQS trigger needs ReportBatchItemFailures in its FunctionResponseTypes:
// without it Lambda takes every batch that is answered for done, failures and all.
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
//
// Outcome.Delay is not used. A message that is not done comes again when its
// queue's visibility timeout is over, or after Lambda's own one and two minutes;
// shortening that would need the queue's API and its permission, for nothing but
// an earlier look at a lease that somebody else holds.
package lambdaworker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/core/worker"
)

// Worker is what deliveries go to: a [worker.Worker].
type Worker interface {
	Process(ctx context.Context, d worker.Delivery) worker.Outcome
	DeadLetter(ctx context.Context, d worker.Delivery) worker.Outcome
}

// Handler hands a function's events to a worker: it is a lambda.Handler of
// aws-lambda-go. Invocations may run concurrently.
type Handler struct {
	Worker Worker

	// DeadLetterQueues are the ARNs of the queues among the function's triggers
	// whose messages are dead letters: they are reported as such, and not run.
	DeadLetterQueues []string
}

// The time that is kept back from a function's deadline: what a worker takes to
// report after it was stopped (5 s), and to answer; but of a short time-out a
// quarter.
const (
	margin      = 6 * time.Second
	marginShare = 4
)

// Invoke delivers what is in one event. Its error makes Lambda, where it is
// Lambda that repeats, deliver the event again.
func (h *Handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-min(margin, time.Until(deadline)/marginShare)))
		defer cancel()
	}
	e, err := parse(payload)
	switch {
	case err != nil:
		return nil, err
	case e.isSQS():
		return h.batch(ctx, e.Records)
	case e.isSNS():
		return nil, h.all(ctx, e.Records)
	}
	return nil, h.one(ctx, worker.Delivery{Body: payload})
}

// one delivers a message that Lambda itself repeats.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
func (h *Handler) one(ctx context.Context, d worker.Delivery) error {
	if h.Worker.Process(ctx, d).Acknowledge {
		return nil
	}
	return errNotDone
}

// all delivers the messages of an SNS event, which always is one.
// https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html
func (h *Handler) all(ctx context.Context, records []record) (err error) {
	for _, r := range records {
		if failed := h.one(ctx, r.SNS.delivery()); failed != nil {
			err = failed
		}
	}
	return err
}

// batch delivers the messages of a queue side by side, those of a FIFO queue's
// group one after the other, and answers which of them are to come again.
func (h *Handler) batch(ctx context.Context, records []record) ([]byte, error) {
	done := make([]bool, len(records)) // each written by one goroutine
	var running sync.WaitGroup
	for _, line := range lines(records) {
		running.Go(func() {
			for _, i := range line {
				if done[i] = h.deliver(ctx, records[i]); !done[i] {
					return // what follows in the group must not overtake it
				}
			}
		})
	}
	running.Wait()
	type failure struct {
		ID string `json:"itemIdentifier"`
	}
	answer := struct {
		Failures []failure `json:"batchItemFailures"`
	}{[]failure{}}
	for i, r := range records {
		if !done[i] {
			answer.Failures = append(answer.Failures, failure{r.MessageID})
		}
	}
	return json.Marshal(answer)
}

func (h *Handler) deliver(ctx context.Context, r record) bool {
	d := r.delivery()
	if slices.Contains(h.DeadLetterQueues, r.SourceARN) {
		return h.Worker.DeadLetter(ctx, d).Acknowledge
	}
	return h.Worker.Process(ctx, d).Acknowledge
}

// lines returns which records are to be delivered one after the other. Standard
// queues have groups too, which say nothing of the order:
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html
func lines(records []record) (all [][]int) {
	groups := map[string]int{} // the place of a group's line in all
	for i, r := range records {
		group := r.Attributes["MessageGroupId"]
		if group == "" || !strings.HasSuffix(r.SourceARN, ".fifo") {
			all = append(all, []int{i})
			continue
		}
		if at, ok := groups[group]; ok {
			all[at] = append(all[at], i)
			continue
		}
		groups[group] = len(all)
		all = append(all, []int{i})
	}
	return all
}

// errNotDone fails an invocation. What happened is in the worker's log.
var errNotDone = errors.New("lambdaworker: the message is not done: Lambda is to deliver it again")
