package schedulerdouble_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/emulators/schedulerdouble"
)

// queue makes a queue and returns its URL.
func queue(t *testing.T, client *sqs.Client, name string, attributes map[string]string) *string {
	t.Helper()
	made, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(name), Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	return made.QueueUrl
}

func received(t *testing.T, client *sqs.Client, url *string) []sqstypes.Message {
	t.Helper()
	got, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: url, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{sqstypes.MessageSystemAttributeNameAll},
	})
	if err != nil {
		t.Fatal(err)
	}
	return got.Messages
}

func TestADueScheduleFiresOnceAndIsDeleted(t *testing.T) {
	client := sqs.NewFromConfig(awsemu.Config(emulators.SQS(t).URL()))
	double, schedules := newDouble(t, schedulerdouble.Targets{SQS: client})
	url := queue(t, client, "tasks", nil)
	_, err := schedules.CreateSchedule(t.Context(), request(func(in *scheduler.CreateScheduleInput) {
		in.Target.Input = aws.String("<aws.scheduler.schedule-arn> <aws.scheduler.scheduled-time> <aws.scheduler.attempt-number> \\u003caws.scheduler.execution-id>")
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := double.Advance(t.Context(), 55*time.Minute); err != nil || len(received(t, client, url)) != 0 {
		t.Fatalf("fired before it was due (%v)", err)
	}
	for range 2 {
		if err := double.Advance(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	got := received(t, client, url)
	const want = "arn:aws:scheduler:us-east-1:000000000000:schedule/default/task-1 2030-01-02T04:00:00Z 1 \\u003caws.scheduler.execution-id>"
	if len(got) != 1 || *got[0].Body != want {
		t.Errorf("received %+v, want one %q", got, want)
	}
	if left := double.Schedules(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

func TestAFIFOQueueGetsItsGroup(t *testing.T) {
	client := sqs.NewFromConfig(awsemu.Config(emulators.SQS(t).URL()))
	double, schedules := newDouble(t, schedulerdouble.Targets{SQS: client})
	url := queue(t, client, "tasks.fifo", map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"})
	_, err := schedules.CreateSchedule(t.Context(), request(func(in *scheduler.CreateScheduleInput) {
		in.Target.Arn = aws.String(awsemu.ARN("sqs", "tasks.fifo"))
		in.Target.SqsParameters = &types.SqsParameters{MessageGroupId: aws.String("red")}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := double.Advance(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	got := received(t, client, url)
	if len(got) != 1 || got[0].Attributes["MessageGroupId"] != "red" {
		t.Errorf("received %+v", got)
	}
}

func TestTopicsAndUniversalTargetsAreReached(t *testing.T) {
	cfg := awsemu.Config(emulators.SQS(t).URL())
	client, topics := sqs.NewFromConfig(cfg), sns.NewFromConfig(cfg)
	double, schedules := newDouble(t, schedulerdouble.Targets{SQS: client, SNS: topics})
	url := queue(t, client, "tasks", nil)
	topic, err := topics.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("events")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = topics.Subscribe(t.Context(), &sns.SubscribeInput{
		TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(awsemu.ARN("sqs", "tasks")),
		Attributes: map[string]string{"RawMessageDelivery": "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	call, err := json.Marshal(map[string]any{
		"QueueUrl": *url, "MessageBody": "universal",
		"MessageAttributes": map[string]any{"task_id": map[string]string{"DataType": "String", "StringValue": "1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string][2]string{
		"a": {*topic.TopicArn, "templated"},
		"b": {"arn:aws:scheduler:::aws-sdk:sqs:sendMessage", string(call)},
	} {
		_, err := schedules.CreateSchedule(t.Context(), request(func(in *scheduler.CreateScheduleInput) {
			in.Name, in.Target.Arn, in.Target.Input = aws.String(name), aws.String(target[0]), aws.String(target[1])
		}))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := double.Advance(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	got := map[string]sqstypes.Message{}
	for range 2 {
		for _, m := range received(t, client, url) {
			got[*m.Body] = m
		}
	}
	if len(got) != 2 || *got["universal"].MessageAttributes["task_id"].StringValue != "1" || got["templated"].Body == nil {
		t.Errorf("received %+v", got)
	}
}

func TestAFailedDeliveryIsRepeated(t *testing.T) {
	proxy := faultproxy.New(t, emulators.SQS(t).URL())
	client := sqs.NewFromConfig(awsemu.Config(proxy.URL()))
	double, schedules := newDouble(t, schedulerdouble.Targets{SQS: client})
	url := queue(t, client, "tasks", nil)
	_, err := schedules.CreateSchedule(t.Context(), request(func(in *scheduler.CreateScheduleInput) {
		in.Target.Input = aws.String("attempt <aws.scheduler.attempt-number>")
	}))
	if err != nil {
		t.Fatal(err)
	}
	proxy.Next(faultproxy.Operation("SendMessage"), faultproxy.AWSThrottled)
	if err := double.Advance(t.Context(), time.Hour); err == nil || !strings.Contains(err.Error(), "task-1") {
		t.Errorf("a failed delivery: %v", err)
	}
	if err := double.Advance(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if got := received(t, client, url); len(got) != 1 || *got[0].Body != "attempt 2" {
		t.Errorf("received %+v", got)
	}
}
