package snsdispatch

import (
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/taskgate/taskgate/adapters/aws/internal/batch"
	"github.com/taskgate/taskgate/adapters/aws/internal/message"
	"github.com/taskgate/taskgate/adapters/aws/schedule"
	"github.com/taskgate/taskgate/core/task"
)

// DispatchBatch implements [task.BatchDispatcher]. The calls to a standard topic
// run concurrently, those to a FIFO topic in order. The messages of one call may
// together be as large as one message may be.
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
func (t *Topic) DispatchBatch(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
	results := make([]task.DispatchResult, len(ms))
	if len(ms) == 0 {
		return results
	}
	name := ms[0].Queue
	size := t.size(ctx, name)
	var entries []batch.Entry[types.PublishBatchRequestEntry]
	var schedules sync.WaitGroup
	for i, m := range ms {
		if m.Route == schedule.Route {
			schedules.Go(func() { results[i].Err = t.schedule(ctx, m) })
			continue
		}
		in, bytes, err := t.build(m, size)
		if err != nil {
			results[i].Err = err
			continue
		}
		entries = append(entries, batch.Entry[types.PublishBatchRequestEntry]{Place: i, Bytes: bytes, Message: types.PublishBatchRequestEntry{
			Id:                     aws.String(batch.ID(i)),
			Message:                in.Message,
			MessageAttributes:      in.MessageAttributes,
			MessageGroupId:         in.MessageGroupId,
			MessageDeduplicationId: in.MessageDeduplicationId,
		}})
	}
	batch.Send(ctx, entries, size, message.IsFIFO(name), t.call(name), results)
	schedules.Wait()
	return results
}

// call returns the function that sends a part of the batch.
func (t *Topic) call(name string) batch.Call[types.PublishBatchRequestEntry] {
	return func(ctx context.Context, entries []types.PublishBatchRequestEntry) (map[string]batch.Outcome, error) {
		out, err := t.client.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: aws.String(t.arn(name)), PublishBatchRequestEntries: entries})
		if err != nil {
			return nil, translate(err, name)
		}
		outcomes := make(map[string]batch.Outcome, len(entries))
		for _, s := range out.Successful {
			receipt := task.Receipt{MessageID: aws.ToString(s.MessageId)}
			outcomes[aws.ToString(s.Id)] = batch.Outcome{DispatchResult: task.DispatchResult{Receipt: receipt}}
		}
		for _, f := range out.Failed {
			outcomes[aws.ToString(f.Id)] = batch.Outcome{DispatchResult: task.DispatchResult{Err: failedEntry(f, name)}, Again: !f.SenderFault}
		}
		return outcomes, task.Errorf(task.Unavailable, "the topic %s did not say whether it has the message", name)
	}
}
