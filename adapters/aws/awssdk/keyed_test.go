package awssdk_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/dynamostore"
	"github.com/taskgate/taskgate/adapters/aws/sqsdispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/wait"
)

// TestAKeyedRequestThatIsRepeatedEndsWithOneRecordAndOneTask: whatever broke the
// first, of either call, and whether it was applied or not. Messages may be
// repeated, as SQS itself repeats them; all are of the one task.
func TestAKeyedRequestThatIsRepeatedEndsWithOneRecordAndOneTask(t *testing.T) {
	items, messages := emulators.DynamoDB(t), emulators.SQS(t)
	toItems, toMessages := faultproxy.New(t, items.URL()), faultproxy.New(t, messages.URL())
	cfg := awsemu.Config("")
	awssdk.Bound(&cfg)
	at := func(url string) aws.Config { c := cfg; c.BaseEndpoint = &url; return c }
	awsemu.CreateTable(t, dynamodb.NewFromConfig(at(items.URL())), dynamostore.Definition("tasks"))
	queues := sqs.NewFromConfig(at(messages.URL()))
	queue, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("tasks")})
	if err != nil {
		t.Fatal(err)
	}
	store := dynamostore.New(dynamodb.NewFromConfig(at(toItems.URL())), "tasks", dynamostore.Options{})
	service := newRig(items.URL()).service
	service.Store = store
	service.Backends["default"] = task.Backend{
		Dispatcher: sqsdispatch.New(sqs.NewFromConfig(at(toMessages.URL())), sqsdispatch.Options{}), Target: "sqs", DefaultQueue: "tasks",
	}

	// Often enough that the SDK's own repetition fails too; the mark of the
	// dispatch, best effort, may be lost with it.
	twice := func(f faultproxy.Fault) []faultproxy.Fault { return []faultproxy.Fault{f, f} }
	for name, f := range map[string]faultproxy.Fault{
		"throttled": faultproxy.AWSThrottled, "unavailable": faultproxy.AWSUnavailable, "expired": faultproxy.AWSExpired,
		"reset": faultproxy.ResetBefore, "reset after": faultproxy.ResetAfter, "truncated": faultproxy.Truncated, "silent after": faultproxy.SilentAfter,
	} {
		for where, broken := range map[string]struct {
			proxy *faultproxy.Proxy
			match faultproxy.Match
		}{"record": {toItems, faultproxy.Operation("PutItem")}, "message": {toMessages, faultproxy.Operation("SendMessage")}} {
			broken.proxy.Next(broken.match, twice(f)...)
			req := task.Request{
				TaskName: "send", Args: jsontext.Value("[]"), Kwargs: jsontext.Value("{}"), Backend: "default", Key: name + where,
			}
			call := task.Call{Owner: "alice", BaseURL: "https://tasks.example.com"}
			var accepted task.Accepted
			for attempt := 1; ; attempt++ {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				start := time.Now()
				accepted, err = service.Enqueue(ctx, call, req)
				cancel()
				if took := time.Since(start); took > 5*time.Second+wait.Slack { // its own time, and what it has to clean up
					t.Errorf("%s at the %s: %v after %v", name, where, err, took)
				}
				if err == nil {
					break
				}
				if k := task.KindOf(err); k != task.Unavailable && k != task.InFlight || attempt == 100 {
					t.Fatalf("%s at the %s, attempt %d: %v", name, where, attempt, err)
				}
				if task.KindOf(err) == task.InFlight { // what could not be released is free after its time
					service.Now = later(service.Now, 10*time.Second)
				}
			}
			broken.proxy.Restore()
			service.Now = time.Now
			if accepted.Task.ID != task.KeyedID("alice", req.Key) {
				t.Errorf("%s at the %s: the task is %s", name, where, accepted.Task.ID)
			}
			seen := 0
			for {
				out, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"}})
				if err != nil {
					t.Fatal(err)
				}
				if len(out.Messages) == 0 {
					break
				}
				for _, m := range out.Messages {
					seen++
					if id := *m.MessageAttributes[task.AttributeTaskID].StringValue; id != accepted.Task.ID {
						t.Errorf("%s at the %s: a message of task %s", name, where, id)
					}
					if _, err := queues.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: queue.QueueUrl, ReceiptHandle: m.ReceiptHandle}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if seen == 0 {
				t.Errorf("%s at the %s: no message", name, where)
			}
		}
	}
	page, err := store.List(t.Context(), task.Query{Limit: 100})
	if err != nil || len(page.Records) != 14 {
		t.Errorf("%d records, want 14 (%v)", len(page.Records), err)
	}
}

func later(now func() time.Time, d time.Duration) func() time.Time {
	return func() time.Time { return now().Add(d) }
}
