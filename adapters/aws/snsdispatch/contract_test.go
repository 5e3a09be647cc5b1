package snsdispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/schedule"
	"github.com/taskgate/taskgate/adapters/aws/snsdispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/dispatchtest"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/emulators/schedulerdouble"
	"github.com/taskgate/taskgate/tests/faults"
	"github.com/taskgate/taskgate/tests/wait"
)

var _ task.BatchDispatcher = (*snsdispatch.Topic)(nil)

var prefix = awsemu.ARN("sns", "")

func config(url string) aws.Config {
	cfg := awsemu.Config(url)
	awssdk.Bound(&cfg)
	return cfg
}

// open returns a dispatcher to the emulator, or a proxy before it, at url.
func open(url string, o snsdispatch.Options) *snsdispatch.Topic {
	o.ARNPrefix = prefix
	return snsdispatch.New(sns.NewFromConfig(config(url)), o)
}

// createTopic makes a topic and a queue of the same name that has all that is
// published, and returns what takes messages out of the queue.
func createTopic(t testing.TB, url, name string, topicAttributes map[string]string) func(context.Context) (dispatchtest.Delivery, error) {
	t.Helper()
	ctx, topics, queues := context.Background(), sns.NewFromConfig(config(url)), sqs.NewFromConfig(awsemu.Config(url))
	var queueAttributes map[string]string
	if strings.HasSuffix(name, ".fifo") {
		topicAttributes = map[string]string{"FifoTopic": "true"}
		queueAttributes = map[string]string{"FifoQueue": "true"}
	}
	topic, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: &name, Attributes: topicAttributes})
	if err != nil {
		t.Fatal(err)
	}
	queue, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: queueAttributes})
	if err != nil {
		t.Fatal(err)
	}
	_, err = topics.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(awsemu.ARN("sqs", name)),
		Attributes: map[string]string{"RawMessageDelivery": "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	// A call is never given up, and a message whose call broke all the same comes
	// back in 5 s.
	return func(ctx context.Context) (dispatchtest.Delivery, error) {
		for {
			out, err := queues.ReceiveMessage(context.WithoutCancel(ctx), &sqs.ReceiveMessageInput{
				QueueUrl: queue.QueueUrl, MessageAttributeNames: []string{"All"}, VisibilityTimeout: 30,
				MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
			})
			if err != nil {
				out = &sqs.ReceiveMessageOutput{}
			}
			for _, m := range out.Messages {
				_, err := queues.DeleteMessage(context.WithoutCancel(ctx), &sqs.DeleteMessageInput{QueueUrl: queue.QueueUrl, ReceiptHandle: m.ReceiptHandle})
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

func TestTopicsKeepTheContract(t *testing.T) {
	for _, name := range []string{"tasks", "tasks.fifo"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := emulators.SQS(t)
			receive := createTopic(t, e.URL(), name, nil)
			d := open(e.URL(), snsdispatch.Options{})
			dispatchtest.Run(t, func(t *testing.T) dispatchtest.Subject {
				return dispatchtest.Subject{Dispatcher: d, Queue: name, MissingQueue: "no-such-topic", Receive: receive}
			})
		})
	}
}

func TestTopicsWithTheSchedulerKeepTheContract(t *testing.T) {
	for _, name := range []string{"tasks", "tasks.fifo"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := emulators.SQS(t)
			receive := createTopic(t, e.URL(), name, nil)
			double := schedulerdouble.New(t, time.Now(), schedulerdouble.Targets{SNS: sns.NewFromConfig(config(e.URL()))})
			s := schedule.New(scheduler.NewFromConfig(config(double.URL())), schedule.Options{RoleARN: "arn:aws:iam::000000000000:role/scheduler", Now: double.Now})
			d := open(e.URL(), snsdispatch.Options{Scheduler: s, Now: double.Now})
			dispatchtest.Run(t, func(t *testing.T) dispatchtest.Subject {
				return dispatchtest.Subject{
					Dispatcher: d, Queue: name, MissingQueue: "no-such-topic", Receive: receive, Now: double.Now, Late: awssdk.AnswerTime + 2*time.Second,
					WaitUntil: func(ctx context.Context, at time.Time) error {
						return double.Advance(ctx, max(0, at.Sub(double.Now())))
					},
				}
			})
			later := outgoing("no-such-topic")
			later.Route, later.Due = schedule.Route, task.At(double.Now().Add(time.Hour))
			if _, err := d.Dispatch(t.Context(), later); task.KindOf(err) != task.Unavailable || !strings.Contains(err.Error(), "there is no topic no-such-topic") {
				t.Errorf("a missing topic, later: %v", err)
			}
		})
	}
}

func outgoing(topic string) task.Outgoing {
	id := task.NewID()
	return task.Outgoing{
		ID: id, Queue: topic, Body: fmt.Appendf(nil, `{"task_name":"send","args":[],"kwargs":{},"id":%q}`, id),
		Attributes: map[string]string{task.AttributeTaskID: id},
	}
}

var (
	publishes = faultproxy.Operation("Publish")
	batches   = faultproxy.Operation("PublishBatch")
)

func TestFaultsAreBoundedAndRecover(t *testing.T) {
	for name, match := range map[string]faultproxy.Match{"Publish": publishes, "PublishBatch": batches} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := emulators.SQS(t)
			createTopic(t, e.URL(), "tasks", nil)
			p := faults.To(t, e.URL())
			d := open(p.URL(), snsdispatch.Options{})
			faults.Run(t, faults.Subject{
				TCP: p.TCP, Faults: p.Faults(match, faults.AWS, false), Says: "the topic tasks", Long: name != "Publish",
				Call: func(ctx context.Context) error {
					if name == "PublishBatch" {
						return d.DispatchBatch(ctx, []task.Outgoing{outgoing("tasks"), outgoing("tasks")})[1].Err
					}
					_, err := d.Dispatch(ctx, outgoing("tasks"))
					return err
				},
			})
		})
	}
}

func TestSizeLimitIsReadFromTheTopicIfPermitted(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	createTopic(t, e.URL(), "tasks", nil)
	p := faultproxy.New(t, e.URL())
	reads := faultproxy.Operation("GetTopicAttributes")
	p.Next(reads, faultproxy.AWSThrottled, faultproxy.AWSThrottled, faultproxy.Status(200, `<GetTopicAttributesResponse><GetTopicAttributesResult><Attributes>`+
		`<entry><key>MaximumMessageSize</key><value>1048576</value></entry></Attributes></GetTopicAttributesResult></GetTopicAttributesResponse>`, "Content-Type", "text/xml"))
	d := open(p.URL(), snsdispatch.Options{})
	if l := d.Limits(t.Context(), "tasks", 0); *l.MaxMessageBytes != 256<<10-1280 || !l.FanOut || l.SupportsDefer {
		t.Errorf("before it is read: %+v, %d bytes", l, *l.MaxMessageBytes)
	}
	for end := time.Now().Add(wait.Patience); *d.Limits(t.Context(), "tasks", 0).MaxMessageBytes != 1<<20-1280; <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is never read")
		}
	}
	p.Always(reads, faultproxy.AWSDenied)
	before := p.Count(reads)
	d = open(p.URL(), snsdispatch.Options{})
	for range 3 {
		if l := d.Limits(t.Context(), "tasks", 0); *l.MaxMessageBytes != 256<<10-1280 {
			t.Errorf("not permitted: %d bytes", *l.MaxMessageBytes)
		}
	}
	if n := p.Count(reads) - before; n != 1 {
		t.Errorf("not permitted: asked %d times", n)
	}
}

func TestFailedEntryIsSentOnceMoreIfThatCanHelp(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	createTopic(t, e.URL(), "tasks", nil)
	p := faultproxy.New(t, e.URL())
	d := open(p.URL(), snsdispatch.Options{})
	ms := []task.Outgoing{outgoing("tasks"), outgoing("tasks"), outgoing("tasks")}
	again := faultproxy.PartialBatch(faultproxy.FailedEntry{Index: 1, Code: "InternalError"})
	for name, c := range map[string]struct {
		faults []faultproxy.Fault
		calls  int
		second task.Kind
	}{
		"once":              {[]faultproxy.Fault{again}, 2, ""},
		"twice":             {[]faultproxy.Fault{again, faultproxy.PartialBatch(faultproxy.FailedEntry{Index: 0, Code: "InternalError"})}, 2, task.Unavailable},
		"the sender's":      {[]faultproxy.Fault{faultproxy.PartialBatch(faultproxy.FailedEntry{Index: 1, Code: "InvalidParameter", SenderFault: true})}, 1, task.MessageRejected},
		"the sender's, but": {[]faultproxy.Fault{faultproxy.PartialBatch(faultproxy.FailedEntry{Index: 1, Code: "AuthorizationError", SenderFault: true})}, 1, task.Unavailable},
	} {
		before := p.Count(batches)
		p.Next(batches, c.faults...)
		r := d.DispatchBatch(t.Context(), ms)
		if r[0].Err != nil || r[2].Err != nil || task.KindOf(r[1].Err) != c.second || p.Count(batches)-before != c.calls {
			t.Errorf("%s: %+v after %d calls", name, r, p.Count(batches)-before)
		}
	}
}

// TestScheduledMessageIsTheRequestOfPublish checks what the Scheduler is given.
func TestScheduledMessageIsTheRequestOfPublish(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	createTopic(t, e.URL(), "tasks.fifo", nil)
	double := schedulerdouble.New(t, time.Now(), schedulerdouble.Targets{})
	s := schedule.New(scheduler.NewFromConfig(config(double.URL())), schedule.Options{RoleARN: "arn:aws:iam::000000000000:role/scheduler", Now: double.Now})
	d := open(e.URL(), snsdispatch.Options{Scheduler: s})
	m := outgoing("tasks.fifo")
	m.Route, m.Due = schedule.Route, task.At(time.Now().Add(time.Hour))
	m.Group, m.Body = "customer-1", []byte(`{"args":["<b>"]}`)
	if _, err := d.Dispatch(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	target := double.Schedules()[0].Target
	var in sns.PublishInput
	if err := json.Unmarshal([]byte(target.Input), &in); err != nil {
		t.Fatal(err)
	}
	if target.Arn != "arn:aws:scheduler:::aws-sdk:sns:publish" || *in.TopicArn != prefix+"tasks.fifo" || *in.Message != `{"args":["\u003cb>"]}` || *in.MessageGroupId != "customer-1" ||
		*in.MessageDeduplicationId != m.ID || *in.MessageAttributes[task.AttributeTaskID].StringValue != m.ID {
		t.Errorf("%s to %s", target.Input, target.Arn)
	}
	m.Body = []byte(strings.Repeat("x", schedule.MaxBodyBytes+1))
	if _, err := d.Dispatch(t.Context(), m); task.KindOf(err) != task.MessageTooLarge {
		t.Error(err)
	}
	if l := d.Limits(t.Context(), "tasks.fifo", time.Hour); l.Route != schedule.Route || *l.MaxMessageBytes != schedule.MaxBodyBytes || !l.SupportsCancel || l.MaxDelaySeconds != nil {
		t.Errorf("limits %+v", l)
	}
}
