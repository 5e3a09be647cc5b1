package sqsdispatch_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/schedulerdispatch"
	"github.com/taskgate/taskgate/adapters/aws/sqsdispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/dispatchtest"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/schedulerdouble"
)

var _ task.BatchDispatcher = (*sqsdispatch.Queue)(nil)

const missingQueue = "no-such-queue"

func TestAStandardQueueKeepsTheContract(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	url := createQueue(t, e.URL(), "tasks", nil)
	d := sqsdispatch.New(client(e.URL()), sqsdispatch.Options{})
	dispatchtest.Run(t, func(t *testing.T) dispatchtest.Subject {
		return dispatchtest.Subject{Dispatcher: d, Queue: "tasks", MissingQueue: missingQueue, Receive: receiver(e.URL(), url)}
	})
}

func TestAFIFOQueueKeepsTheContract(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	url := createQueue(t, e.URL(), "tasks.fifo", map[string]string{"FifoQueue": "true"})
	d := sqsdispatch.New(client(e.URL()), sqsdispatch.Options{})
	dispatchtest.Run(t, func(t *testing.T) dispatchtest.Subject {
		return dispatchtest.Subject{Dispatcher: d, Queue: "tasks.fifo", MissingQueue: missingQueue + ".fifo", Receive: receiver(e.URL(), url)}
	})
}

// TestEventBridgeSchedulerBackendKeepsTheContract: every delay by the Scheduler,
// to standard and FIFO queues, on the double's clock.
func TestEventBridgeSchedulerBackendKeepsTheContract(t *testing.T) {
	for _, name := range []string{"tasks", "tasks.fifo"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := emulators.SQS(t)
			var attributes map[string]string
			if strings.HasSuffix(name, ".fifo") {
				attributes = map[string]string{"FifoQueue": "true"}
			}
			url := createQueue(t, e.URL(), name, attributes)
			double, s := newScheduler(t, e.URL())
			d := sqsdispatch.New(client(e.URL()), sqsdispatch.Options{Scheduler: s, ScheduleAlways: true, Now: double.Now})
			dispatchtest.Run(t, func(t *testing.T) dispatchtest.Subject {
				return dispatchtest.Subject{
					Dispatcher: d, Queue: name, MissingQueue: missingQueue, Receive: receiver(e.URL(), url),
					Now: double.Now, WaitUntil: waitUntil(double),
				}
			})
		})
	}
}

const role = "arn:aws:iam::000000000000:role/scheduler"

// newScheduler starts a double that fires at the queues of url, and its adapter.
func newScheduler(t testing.TB, url string) (*schedulerdouble.Scheduler, *schedulerdispatch.Scheduler) {
	t.Helper()
	double := schedulerdouble.New(t, time.Now().Truncate(time.Second), schedulerdouble.Targets{SQS: client(url)})
	cfg := awsemu.Config(double.URL())
	awssdk.Bound(&cfg)
	return double, schedulerdispatch.New(scheduler.NewFromConfig(cfg), schedulerdispatch.Options{RoleARN: role})
}

// waitUntil moves the double's clock.
func waitUntil(double *schedulerdouble.Scheduler) func(context.Context, time.Time) error {
	return func(ctx context.Context, at time.Time) error {
		return double.Advance(ctx, max(0, at.Sub(double.Now())))
	}
}

// client returns a client as a main makes it, of the emulator or of a proxy
// before it.
func client(url string) *sqs.Client {
	cfg := awsemu.Config(url)
	awssdk.Bound(&cfg)
	return sqs.NewFromConfig(cfg)
}

func createQueue(t testing.TB, url, name string, attributes map[string]string) string {
	t.Helper()
	out, err := client(url).CreateQueue(context.Background(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	return *out.QueueUrl
}

// receiver takes messages out of a queue, as a worker has them. A call is never
// given up, and a message whose call broke all the same comes back in 5 s.
func receiver(endpoint, queueURL string) func(context.Context) (dispatchtest.Delivery, error) {
	c := sqs.NewFromConfig(awsemu.Config(endpoint))
	return func(ctx context.Context) (dispatchtest.Delivery, error) {
		for {
			out, err := c.ReceiveMessage(context.WithoutCancel(ctx), &sqs.ReceiveMessageInput{
				QueueUrl: &queueURL, MaxNumberOfMessages: 1, MessageAttributeNames: []string{"All"}, VisibilityTimeout: 5,
				MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
			})
			if err != nil {
				out = &sqs.ReceiveMessageOutput{}
			}
			for _, m := range out.Messages {
				_, err := c.DeleteMessage(context.WithoutCancel(ctx), &sqs.DeleteMessageInput{QueueUrl: &queueURL, ReceiptHandle: m.ReceiptHandle})
				d := dispatchtest.Delivery{Body: []byte(*m.Body), Attributes: map[string]string{}, Group: m.Attributes["MessageGroupId"]}
				for name, a := range m.MessageAttributes {
					d.Attributes[name] = aws.ToString(a.StringValue)
				}
				return d, err
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return dispatchtest.Delivery{}, errors.Join(ctx.Err(), err)
			}
		}
	}
}
