// Package batch sends messages to SQS and SNS in calls that take several, whose
// answers list each message.
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

// Entry is one message of a batch. E is the SDK's type for it.
type Entry[E any] struct {
	Place   int   // the index of its result
	Bytes   int64 // its size, for the limit of a call
	Message E     // its id in the call is ID(Place)
}

// ID returns the id, within a call, of the message with that index.
func ID(place int) string { return strconv.Itoa(place) }

// Outcome is what an answer says about one message. Again is set when sending it
// once more may help.
type Outcome struct {
	task.DispatchResult
	Again bool
}

// Call sends messages in one call and returns the outcomes by the messages' ids.
// Messages that the answer does not mention have failed with the error.
type Call[E any] func(ctx context.Context, messages []E) (map[string]Outcome, error)

// Send makes the calls, each with at most limit bytes, and writes the outcomes to
// results. The calls run in order if ordered, else concurrently.
//
// The SDK repeats a failed call once. It cannot see messages that failed within a
// call that was answered: Send sends those once more, unless the order matters.
func Send[E any](ctx context.Context, entries []Entry[E], limit int64, ordered bool, call Call[E], results []task.DispatchResult) {
	var calls sync.WaitGroup
	for len(entries) > 0 {
		n := fitting(entries, limit)
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
func fitting[E any](entries []Entry[E], limit int64) int {
	bytes := entries[0].Bytes
	n := 1
	for n < len(entries) && n < maxEntries && bytes+entries[n].Bytes <= limit {
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
		// The service may refuse the call as a whole while each message is fine.
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
