package eventsource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/taskgate/taskgate/tests/emulators/awsemu"
)

// Queue is an event source mapping: it polls an SQS queue, hands what it finds
// to a function in batches, and deletes what the function has not named in
// batchItemFailures. What it has named, and everything when the function fails,
// comes again when its visibility timeout is over.
// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
type Queue struct {
	Client     *sqs.Client
	URL        string
	Name       string // of the queue, for the events' ARN
	Invoke     Invoke
	BatchSize  int   // 1 to 10; default 10
	Visibility int32 // seconds; 0 = the queue's own
}

// Start polls until the test ends, through failures to receive, as a poller of
// Lambda's does.
func (q *Queue) Start(t testing.TB) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var polling sync.WaitGroup
	polling.Go(func() {
		for ctx.Err() == nil {
			if _, err := q.Poll(ctx); err != nil && ctx.Err() == nil {
				t.Logf("poll %s: %v", q.Name, err)
				select {
				case <-time.After(100 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		}
	})
	t.Cleanup(func() {
		stop()
		polling.Wait()
	})
}

// Poll waits up to a second for messages and handles one batch. It returns how
// many messages the function has done. A function's error is none of its own.
func (q *Queue) Poll(ctx context.Context) (done int, err error) {
	in := &sqs.ReceiveMessageInput{
		QueueUrl: &q.URL, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, VisibilityTimeout: q.Visibility,
		MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	}
	if q.BatchSize > 0 {
		in.MaxNumberOfMessages = int32(q.BatchSize)
	}
	out, err := q.Client.ReceiveMessage(ctx, in)
	if err != nil || len(out.Messages) == 0 {
		return 0, err
	}
	event, err := q.event(out.Messages)
	if err != nil {
		return 0, err
	}
	answer, err := q.Invoke(ctx, event)
	if err != nil {
		return 0, nil // it comes again
	}
	failed, err := failures(answer)
	if err != nil {
		return 0, nil
	}
	var errs []error
	for _, m := range out.Messages {
		if failed[*m.MessageId] {
			continue
		}
		_, err := q.Client.DeleteMessage(context.WithoutCancel(ctx), &sqs.DeleteMessageInput{QueueUrl: &q.URL, ReceiptHandle: m.ReceiptHandle})
		errs = append(errs, err)
		done++
	}
	return done, errors.Join(errs...)
}

// event is https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
func (q *Queue) event(messages []types.Message) ([]byte, error) {
	type attribute struct {
		StringValue      *string  `json:"stringValue,omitempty"`
		BinaryValue      []byte   `json:"binaryValue,omitempty"`
		StringListValues []string `json:"stringListValues"`
		BinaryListValues []string `json:"binaryListValues"`
		DataType         string   `json:"dataType"`
	}
	records := make([]map[string]any, len(messages))
	for i, m := range messages {
		given := map[string]attribute{}
		for name, a := range m.MessageAttributes {
			given[name] = attribute{a.StringValue, a.BinaryValue, []string{}, []string{}, aws.ToString(a.DataType)}
		}
		records[i] = map[string]any{
			"messageId": aws.ToString(m.MessageId), "receiptHandle": aws.ToString(m.ReceiptHandle), "body": aws.ToString(m.Body),
			"attributes": m.Attributes, "messageAttributes": given, "md5OfBody": aws.ToString(m.MD5OfBody),
			"eventSource": "aws:sqs", "eventSourceARN": awsemu.ARN("sqs", q.Name), "awsRegion": awsemu.Region,
		}
	}
	return encode(map[string]any{"Records": records})
}

// failures reads the ids that a function gives back. An answer that is not as it
// should be fails the whole batch.
func failures(answer []byte) (map[string]bool, error) {
	var a struct {
		BatchItemFailures []struct{ ItemIdentifier string }
	}
	if len(answer) == 0 || string(answer) == "null" {
		return nil, nil
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, err
	}
	failed := map[string]bool{}
	for _, f := range a.BatchItemFailures {
		if f.ItemIdentifier == "" {
			return nil, fmt.Errorf("a failure without itemIdentifier in %s", answer)
		}
		failed[f.ItemIdentifier] = true
	}
	return failed, nil
}
