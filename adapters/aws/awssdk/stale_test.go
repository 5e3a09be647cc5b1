package awssdk_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/taskgate/taskgate/adapters/aws/dynamostore"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
)

// TestStaleConnectionsFailNoRequest: while a function is frozen, its pooled
// connections die, and it learns that when it next writes to each of them. The
// retry of a request must not take the next dead one.
func TestStaleConnectionsFailNoRequest(t *testing.T) {
	items, messages := emulators.DynamoDB(t), emulators.SQS(t)
	awsemu.CreateTable(t, dynamodb.NewFromConfig(awsemu.Config(items.URL())), dynamostore.Definition("tasks"))
	_, err := sqs.NewFromConfig(awsemu.Config(messages.URL())).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("tasks")})
	if err != nil {
		t.Fatal(err)
	}
	behind := func(url string) *faultproxy.TCP { return faultproxy.NewTCP(t, strings.TrimPrefix(url, "http://")) }
	for name, c := range map[string]struct {
		store, queue bool // whose connections die
		concurrently int
	}{
		"the store's": {true, false, 1}, "the queue's": {false, true, 1}, "both, many requests": {true, true, 30},
	} {
		t.Run(name, func(t *testing.T) {
			store, queue := behind(items.URL()), behind(messages.URL())
			service := brownOut("http://"+store.Addr(), "http://"+queue.Addr(), "sqs", messages.URL())
			enqueue := func(n int, when string) {
				for i, a := range enqueueTasks(t.Context(), service, "sqs", n, false) {
					if a.Err != nil {
						t.Errorf("%s, item %d: %v", when, i, a.Err)
					}
				}
			}
			enqueue(60, "before") // fills the pools
			stale := 0
			if c.store {
				store.Stale()
				stale += store.Open()
			}
			if c.queue {
				queue.Stale()
				stale += queue.Open()
			}
			if stale < 3 {
				t.Fatalf("only %d connections are pooled", stale)
			}
			for range 12 {
				var all sync.WaitGroup
				for range c.concurrently {
					all.Go(func() { enqueue(1, "afterwards") })
				}
				all.Wait()
			}
		})
	}
}
