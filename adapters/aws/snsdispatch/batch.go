package snsdispatch

import (
	"context"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/core/task"
)

// maxEntries is how many messages one call takes. All of them together may have
// what the topic takes of one.
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
const maxEntries = 10

// DispatchBatch implements [task.BatchDispatcher]. The calls to a standard
// topic are made side by side, those to a FIFO topic in order.
//
// The SDK repeats a call that failed, once. What it cannot see are messages
// that failed in a call that was answered: those are sent once more here, if SNS
// says that they may be and the topic has no order to be kept.
func (t *Topic) DispatchBatch(ctx context.Context, ms []task.Outgoing) []task.DispatchResult {
	results := make([]task.DispatchResult, len(ms))
	if len(ms) == 0 {
		return results
	}
	name := ms[0].Queue
	most := t.size(ctx, name)
	var calls sync.WaitGroup
	var b batch
	send := func() {
		full := b
		b = batch{}
		switch {
		case len(full.entries) == 0:
		case isFIFO(name):
			t.send(ctx, name, full, results, false)
		default:
			calls.Go(func() { t.send(ctx, name, full, results, true) })
		}
	}
	for i, m := range ms {
		in, err := message(m, t.arn(name), most)
		if err != nil {
			results[i].Err = err
			continue
		}
		if m.Due.After(t.options.Now()) {
			calls.Go(func() { results[i].Err = t.schedule(ctx, m) })
			continue
		}
		n := size(in)
		if len(b.entries) == maxEntries || b.bytes+n > most {
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
	entries []types.PublishBatchRequestEntry
	places  []int
	bytes   int64
}

func (b *batch) add(place int, bytes int64, in *sns.PublishInput) {
	b.bytes += bytes
	b.places = append(b.places, place)
	b.entries = append(b.entries, types.PublishBatchRequestEntry{
		Id:                     aws.String(strconv.Itoa(place)),
		Message:                in.Message,
		MessageAttributes:      in.MessageAttributes,
		MessageGroupId:         in.MessageGroupId,
		MessageDeduplicationId: in.MessageDeduplicationId,
	})
}

// send makes one call, and writes each message's outcome to its place.
func (t *Topic) send(ctx context.Context, name string, b batch, results []task.DispatchResult, again bool) {
	bounded, cancel := context.WithTimeout(ctx, awssdk.AnswerTime)
	defer cancel()
	out, err := t.client.PublishBatch(bounded, &sns.PublishBatchInput{TopicArn: aws.String(t.arn(name)), PublishBatchRequestEntries: b.entries})
	if err != nil {
		out, err = &sns.PublishBatchOutput{}, translate(err, name)
	} else { // what the answer does not mention
		err = task.Errorf(task.Unavailable, "the topic %s did not say whether it has the message", name)
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
		t.send(ctx, name, rest, results, false)
	}
}
