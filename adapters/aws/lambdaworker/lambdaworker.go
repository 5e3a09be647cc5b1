// Package lambdaworker is a worker's front door on AWS Lambda. It turns the events
// of a function's triggers (an SQS queue, an SNS topic, an asynchronous invocation,
// EventBridge Scheduler) into deliveries to a worker, and the outcomes into answers
// that make each trigger deliver again exactly what is not done.
//
// An SQS trigger needs ReportBatchItemFailures in its FunctionResponseTypes:
// without it Lambda takes every batch that was answered as done, failures included.
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
//
// Outcome.Delay is not used. A message that is not done comes again after the
// visibility timeout of its queue, or after Lambda's own one and two minutes.
// Shortening that would need the queue's API and a permission for it.
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
	// Failure records that come from another trigger are always dead letters.
	DeadLetterQueues []string
}

// The handler's context ends this long before the function's deadline, so that the
// worker can report (5 s) and the function can answer. Of a short time-out it is a
// quarter.
const (
	margin      = 6 * time.Second
	marginShare = 4
)

// Invoke delivers the messages of one event. An error makes Lambda deliver an event
// of its own again.
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
	d, failed := unwrap(worker.Delivery{Body: payload})
	if !isMessage(d.Body) {
		return nil, errUnknown
	}
	return nil, h.one(ctx, d, failed)
}

// one delivers a message that Lambda itself repeats. A failure record, which
// Lambda's destination may lead here, is a dead letter.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
func (h *Handler) one(ctx context.Context, d worker.Delivery, dead bool) error {
	if h.deliver(ctx, d, dead) {
		return nil
	}
	return errNotDone
}

// all delivers the messages of an SNS event, which has always one.
// https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html
func (h *Handler) all(ctx context.Context, records []record) (err error) {
	for _, r := range records {
		d, dead := unwrap(r.SNS.delivery())
		if failed := h.one(ctx, d, dead); failed != nil {
			err = failed
		}
	}
	return err
}

// batch delivers the messages of a queue concurrently, those of one group of a FIFO
// queue in order, and answers which of them must come again.
func (h *Handler) batch(ctx context.Context, records []record) ([]byte, error) {
	done := make([]bool, len(records)) // each written by one goroutine
	var running sync.WaitGroup
	for _, line := range lines(records) {
		running.Go(func() {
			for _, i := range line {
				d, _ := unwrap(records[i].delivery())
				if done[i] = h.deliver(ctx, d, slices.Contains(h.DeadLetterQueues, records[i].SourceARN)); !done[i] {
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

// deliver reports whether the message is done.
func (h *Handler) deliver(ctx context.Context, d worker.Delivery, dead bool) bool {
	if dead {
		return h.Worker.DeadLetter(ctx, d).Acknowledge
	}
	return h.Worker.Process(ctx, d).Acknowledge
}

// lines returns the records that must be delivered in order, by their indexes.
// Standard queues have groups too, but no order:
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

// isMessage reports whether a body is a task's message.
func isMessage(body []byte) bool {
	var m struct {
		TaskName string `json:"task_name"`
	}
	return json.Unmarshal(body, &m) == nil && m.TaskName != ""
}

// errNotDone fails an invocation. What happened is in the worker's log.
var errNotDone = errors.New("lambdaworker: the message is not done: Lambda is to deliver it again")
