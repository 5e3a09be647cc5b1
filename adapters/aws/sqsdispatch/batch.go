package sqsdispatch

import (
	"context"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/taskgate/taskgate/adapters/aws/internal/batch"
	"github.com/taskgate/taskgate/adapters/aws/internal/message"
	"github.com/taskgate/taskgate/adapters/aws/schedule"
	"github.com/taskgate/taskgate/core/task"
)

// maxBatchBytes is how many bytes the messages of one call may have together.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
const maxBatchBytes = 1 << 20

// DispatchBatch implements [task.BatchDispatcher]. The calls to a standard
// queue run concurrently, those to a FIFO queue in order.
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
	var entries []batch.Entry[types.SendMessageBatchRequestEntry]
	var schedules sync.WaitGroup
	for i, m := range ms {
		if m.Route == schedule.Route {
			schedules.Go(func() { results[i].Err = q.schedule(ctx, m, known) })
			continue
		}
		in, bytes, err := build(m, known, q.delay(m))
		if err != nil {
			results[i].Err = err
			continue
		}
		entries = append(entries, batch.Entry[types.SendMessageBatchRequestEntry]{Place: i, Bytes: bytes, Message: types.SendMessageBatchRequestEntry{
			Id:                     aws.String(batch.ID(i)),
			MessageBody:            in.MessageBody,
			MessageAttributes:      in.MessageAttributes,
			DelaySeconds:           in.DelaySeconds,
			MessageGroupId:         in.MessageGroupId,
			MessageDeduplicationId: in.MessageDeduplicationId,
		}})
	}
	batch.Send(ctx, entries, maxBatchBytes, message.IsFIFO(name), q.call(known, name), results)
	schedules.Wait()
	return results
}

// call returns the [batch.Call] for a queue: one SendMessageBatch. After a
// successful call the error is for messages that the answer does not mention.
func (q *Queue) call(known queue, name string) batch.Call[types.SendMessageBatchRequestEntry] {
	return func(ctx context.Context, entries []types.SendMessageBatchRequestEntry) (map[string]batch.Outcome, error) {
		out, err := q.client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &known.url, Entries: entries})
		if err != nil {
			return nil, q.failed(err, name)
		}
		outcomes := make(map[string]batch.Outcome, len(entries))
		for _, s := range out.Successful {
			receipt := task.Receipt{MessageID: aws.ToString(s.MessageId)}
			outcomes[aws.ToString(s.Id)] = batch.Outcome{DispatchResult: task.DispatchResult{Receipt: receipt}}
		}
		for _, f := range out.Failed {
			outcomes[aws.ToString(f.Id)] = batch.Outcome{DispatchResult: task.DispatchResult{Err: failedEntry(f, name)}, Again: !f.SenderFault}
		}
		return outcomes, task.Errorf(task.Unavailable, "the queue %s did not say whether it has the message", name)
	}
}

// failedEntry says what a refused entry means. Only codes that are certainly about
// the message are final: a "sender fault" may also be a missing permission.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_BatchResultErrorEntry.html
func failedEntry(f types.BatchResultErrorEntry, name string) error {
	e := &task.Error{
		Kind: task.Unavailable, Msg: fmt.Sprintf("the queue %s refuses the message for now", name),
		Err: fmt.Errorf("sqsdispatch: %s: %s: %s", name, aws.ToString(f.Code), aws.ToString(f.Message)),
	}
	e.Kind, e.Msg = refusal(aws.ToString(f.Code), e.Kind, e.Msg)
	return e
}
