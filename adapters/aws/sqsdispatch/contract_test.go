package sqsdispatch_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/schedule"
	"github.com/taskgate/taskgate/adapters/aws/sqsdispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/dispatchtest"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/emulators/schedulerdouble"
)

var _ task.BatchDispatcher = (*sqsdispatch.Queue)(nil)

const missingQueue = "no-such-queue"

func TestStandardQueueKeepsTheContract(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	url := createQueue(t, e.URL(), "tasks", nil)
	d := sqsdispatch.New(client(e.URL()), sqsdispatch.Options{})
	dispatchtest.Run(t, func(t *testing.T) dispatchtest.Subject {
		return dispatchtest.Subject{Dispatcher: d, Queue: "tasks", MissingQueue: missingQueue, Receive: receiver(e.URL(), url)}
	})
}

func TestFIFOQueueKeepsTheContract(t *testing.T) {
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
					Now: double.Now, WaitUntil: waitUntil(double), Late: late,
				}
			})
		})
	}
}

// late is how late the Scheduler may fire: a schedule is made for some seconds
// ahead at least.
const late = awssdk.AnswerTime + 2*time.Second

const role = "arn:aws:iam::000000000000:role/scheduler"

// newScheduler starts a double that fires at the queues of url, and its adapter.
func newScheduler(t testing.TB, url string) (*schedulerdouble.Scheduler, *schedule.Scheduler) {
	t.Helper()
	double := schedulerdouble.New(t, time.Now().Truncate(time.Second), schedulerdouble.Targets{SQS: client(url)})
	cfg := awsemu.Config(double.URL())
	awssdk.Bound(&cfg)
	return double, schedule.New(scheduler.NewFromConfig(cfg), schedule.Options{RoleARN: role, Now: double.Now})
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

// TestRouteIsObeyedWhateverTheClockSays: the record names the route already. A
// route to the queue takes what is left of the delay.
func TestRouteIsObeyedWhateverTheClockSays(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	createQueue(t, e.URL(), "tasks", nil)
	p := faultproxy.New(t, e.URL())
	double, s := newScheduler(t, p.URL())
	for _, always := range []bool{false, true} {
		d := sqsdispatch.New(client(p.URL()), sqsdispatch.Options{Scheduler: s, ScheduleAlways: always, Now: double.Now})
		for _, left := range []time.Duration{-time.Hour, 0, 1500 * time.Millisecond, 900 * time.Second} {
			m := task.Outgoing{ID: task.NewID(), Queue: "tasks", Body: []byte("{}"), Due: task.At(double.Now().Add(left)), Route: sqsdispatch.Route}
			before := p.Count(sends)
			if _, err := d.Dispatch(t.Context(), m); err != nil {
				t.Errorf("always %t, %v left, directly: %v", always, left, err)
			}
			sent := p.Requests(sends)[before:]
			want := fmt.Sprintf(`"DelaySeconds":%d`, int(math.Ceil(max(0, left).Seconds())))
			if len(sent) != 1 || left > 0 && !strings.Contains(string(sent[0].Body), want) || left <= 0 && strings.Contains(string(sent[0].Body), "DelaySeconds") {
				t.Errorf("always %t, %v left, directly: %d requests, want one with %s", always, left, len(sent), want)
			}
			m.ID, m.Route = task.NewID(), schedule.Route
			before = p.Count(sends)
			if _, err := d.Dispatch(t.Context(), m); err != nil || p.Count(sends) != before || len(double.Schedules()) != 1 {
				t.Errorf("always %t, %v left, by the Scheduler: %v, %d requests, %d schedules", always, left, err, p.Count(sends)-before, len(double.Schedules()))
			}
			if err := d.Cancel(t.Context(), task.Sent{ID: m.ID, Queue: m.Queue, Route: sqsdispatch.Route}); err != nil || len(double.Schedules()) != 1 {
				t.Errorf("a cancel of what went directly: %v, %d schedules", err, len(double.Schedules()))
			}
			if err := d.Cancel(t.Context(), task.Sent{ID: m.ID, Queue: m.Queue, Route: schedule.Route}); err != nil || len(double.Schedules()) != 0 {
				t.Errorf("a cancel of what went by the Scheduler: %v, %d schedules", err, len(double.Schedules()))
			}
		}
	}
}

// TestShortRetentionIsReadFromTheQueue: with the Scheduler, a delay that the queue
// cannot keep goes by it.
func TestShortRetentionIsReadFromTheQueue(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	createQueue(t, e.URL(), "tasks", map[string]string{"MessageRetentionPeriod": "60"})
	d := sqsdispatch.New(client(e.URL()), sqsdispatch.Options{})
	if l := d.Limits(t.Context(), "tasks", 0); aws.ToInt64(l.MaxDelaySeconds) != 59 {
		t.Errorf("without the Scheduler: %d s", aws.ToInt64(l.MaxDelaySeconds))
	}
	_, s := newScheduler(t, e.URL())
	d = sqsdispatch.New(client(e.URL()), sqsdispatch.Options{Scheduler: s})
	for delay, route := range map[time.Duration]string{59 * time.Second: "sqs", 75 * time.Second: "scheduler"} {
		if l := d.Limits(t.Context(), "tasks", delay); l.Route != route || l.MaxDelaySeconds != nil {
			t.Errorf("%v: %+v", delay, l)
		}
	}
}

// receiver takes messages out of a queue, as a worker has them. A call is never
// given up, and a message whose call broke all the same comes back in 30 s.
func receiver(endpoint, queueURL string) func(context.Context) (dispatchtest.Delivery, error) {
	c := sqs.NewFromConfig(awsemu.Config(endpoint))
	return func(ctx context.Context) (dispatchtest.Delivery, error) {
		for {
			out, err := c.ReceiveMessage(context.WithoutCancel(ctx), &sqs.ReceiveMessageInput{
				QueueUrl: &queueURL, MaxNumberOfMessages: 1, MessageAttributeNames: []string{"All"}, VisibilityTimeout: 30,
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
