// Package batch sends the messages of SQS and SNS in calls that take several,
// and are answered message by message.
package batch

import (
	"context"
	"strconv"
	"sync"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/core/task"
)

// maxEntries is how many messages one call takes.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
// https://docs.aws.amazon.com/sns/latest/api/API_PublishBatch.html
const maxEntries = 10

// Entry is a message among those of a batch, as E is one in the SDK's words.
type Entry[E any] struct {
	Place   int   // among the batch's results
	Bytes   int64 // which count towards what a call takes
	Message E     // of the id that ID has for the place
}

// ID names the message at a place in a call.
func ID(place int) string { return strconv.Itoa(place) }

// Outcome is what an answer says of one message. Again is set when the service
// says that it may be sent once more.
type Outcome struct {
	task.DispatchResult
	Again bool
}

// Call sends messages, and returns by their ids what the answer says of them.
// The error is that of those which it does not mention.
type Call[E any] func(ctx context.Context, messages []E) (map[string]Outcome, error)

// Send makes the calls, each with at most so many bytes, and writes the outcomes
// to the results at the entries' places: side by side, or in order.
//
// The SDK repeats a call that failed, once. What it cannot see are messages
// that failed in a call that was answered: those are sent once more here, where
// there is no order to be kept.
func Send[E any](ctx context.Context, entries []Entry[E], most int64, ordered bool, call Call[E], results []task.DispatchResult) {
	var calls sync.WaitGroup
	for len(entries) > 0 {
		n := fitting(entries, most)
		some := entries[:n]
		entries = entries[n:]
		if ordered {
			send(ctx, some, call, results, false)
		} else {
			calls.Go(func() { send(ctx, some, call, results, true) })
		}
	}
	calls.Wait()
}

// fitting returns how many of the entries go into one call: at least one.
func fitting[E any](entries []Entry[E], most int64) int {
	bytes := entries[0].Bytes
	n := 1
	for n < len(entries) && n < maxEntries && bytes+entries[n].Bytes <= most {
		bytes += entries[n].Bytes
		n++
	}
	return n
}

func send[E any](ctx context.Context, entries []Entry[E], call Call[E], results []task.DispatchResult, again bool) {
	bounded, cancel := context.WithTimeout(ctx, awssdk.AnswerTime)
	defer cancel()
	messages := make([]E, len(entries))
	for i, e := range entries {
		messages[i] = e.Message
	}
	outcomes, err := call(bounded, messages)
	if task.KindOf(err).Final() && len(entries) > 1 {
		// What is wrong with the call may be wrong with none of its messages.
		for i := range entries {
			send(ctx, entries[i:i+1], call, results, again)
		}
		return
	}
	var rest []Entry[E]
	for _, e := range entries {
		outcome, mentioned := outcomes[ID(e.Place)]
		if !mentioned {
			outcome.Err = err
		}
		results[e.Place] = outcome.DispatchResult
		if again && outcome.Again {
			rest = append(rest, e)
		}
	}
	if len(rest) > 0 && ctx.Err() == nil {
		send(ctx, rest, call, results, false)
	}
}
