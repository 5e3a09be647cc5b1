package sqsdispatch

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/core/task"
)

// What one call takes: so many messages, and so many bytes of them all.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
const (
	maxEntries    = 10
	maxBatchBytes = 1 << 20
)

// DispatchBatch implements [task.BatchDispatcher]. The calls to a standard
// queue are made side by side, those to a FIFO queue in order.
//
// The SDK repeats a call that failed, once. What it cannot see are messages
// that failed in a call that was answered: those are sent once more here, if SQS
// says that they may be and the queue has no order to be kept.
func (q *Queue) DispatchBatch(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
	results := make([]task.DispatchResult, len(ms))
	if len(ms) == 0 {
		return results
	}
	name := ms[0].Queue
	known, err := q.queues.Get(ctx, name)
	if err != nil {
		for i := range results {
			results[i].Err = translate(err, name)
		}
		return results
	}
	var calls sync.WaitGroup
	var b batch
	send := func() {
		full := b
		b = batch{}
		switch {
		case len(full.entries) == 0:
		case isFIFO(name):
			q.send(ctx, known, name, full, results, false)
		default:
			calls.Go(func() { q.send(ctx, known, name, full, results, true) })
		}
	}
	for i, m := range ms {
		delay := q.delay(m)
		if q.schedules(name, delay) {
			calls.Go(func() { results[i].Err = q.schedule(ctx, m, known) })
			continue
		}
		in, err := message(m, known, delay)
		if err != nil {
			results[i].Err = err
			continue
		}
		n := size(in)
		if len(b.entries) == maxEntries || b.bytes+n > maxBatchBytes {
			send()
		}
		b.add(i, n, in)
	}
	send()
	calls.Wait()
	return results
}

// batch is what goes in one call: messages, and their places among all.
type batch struct {
	entries []types.SendMessageBatchRequestEntry
	places  []int
	bytes   int64
}

func (b *batch) add(place int, bytes int64, in *sqs.SendMessageInput) {
	b.bytes += bytes
	b.places = append(b.places, place)
	b.entries = append(b.entries, types.SendMessageBatchRequestEntry{
		Id:                     aws.String(strconv.Itoa(place)),
		MessageBody:            in.MessageBody,
		MessageAttributes:      in.MessageAttributes,
		DelaySeconds:           in.DelaySeconds,
		MessageGroupId:         in.MessageGroupId,
		MessageDeduplicationId: in.MessageDeduplicationId,
	})
}

// send makes one call, and writes each message's outcome to its place.
func (q *Queue) send(ctx context.Context, known queue, name string, b batch, results []task.DispatchResult, again bool) {
	bounded, cancel := context.WithTimeout(ctx, awssdk.AnswerTime)
	defer cancel()
	out, err := q.client.SendMessageBatch(bounded, &sqs.SendMessageBatchInput{QueueUrl: &known.url, Entries: b.entries})
	if err != nil {
		out, err = &sqs.SendMessageBatchOutput{}, q.failed(err, name)
	} else { // what the answer does not mention
		err = task.Errorf(task.Unavailable, "the queue %s did not say whether it has the message", name)
	}
	outcomes := make(map[string]task.DispatchResult, len(b.entries))
	var rest batch
	for _, s := range out.Successful {
		outcomes[aws.ToString(s.Id)] = task.DispatchResult{Receipt: task.Receipt{MessageID: aws.ToString(s.MessageId)}}
	}
	retry := map[string]bool{}
	for _, f := range out.Failed {
		outcomes[aws.ToString(f.Id)] = task.DispatchResult{Err: failedEntry(f, name)}
		retry[aws.ToString(f.Id)] = again && !f.SenderFault
	}
	for i, e := range b.entries {
		outcome, mentioned := outcomes[*e.Id]
		if !mentioned {
			outcome.Err = err
		}
		results[b.places[i]] = outcome
		if retry[*e.Id] {
			rest.entries, rest.places = append(rest.entries, e), append(rest.places, b.places[i])
		}
	}
	if len(rest.entries) > 0 && ctx.Err() == nil {
		q.send(ctx, known, name, rest, results, false)
	}
}

// failedEntry says what a refused entry means. Only the codes that are known to
// be the message's own fault are final: a sender's fault may be its rights.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_BatchResultErrorEntry.html
func failedEntry(f types.BatchResultErrorEntry, name string) error {
	e := &task.Error{
		Kind: task.Unavailable, Msg: fmt.Sprintf("the queue %s refuses the message for now", name),
		Err: fmt.Errorf("sqsdispatch: %s: %s: %s", name, aws.ToString(f.Code), aws.ToString(f.Message)),
	}
	e.Kind, e.Msg = refusal(aws.ToString(f.Code), e.Kind, e.Msg)
	return e
}
