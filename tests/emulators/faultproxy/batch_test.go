package faultproxy_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
)

var twoOfThree = faultproxy.PartialBatch(
	faultproxy.FailedEntry{Index: 0, Code: "InternalError"},
	faultproxy.FailedEntry{Index: 2, Code: "InvalidMessageContents", SenderFault: true},
)

var noneOfThree = faultproxy.PartialBatch(
	faultproxy.FailedEntry{Index: 0, Code: "InternalError"},
	faultproxy.FailedEntry{Index: 1, Code: "InternalError"},
	faultproxy.FailedEntry{Index: 2, Code: "InternalError"},
)

func TestFailedEntriesOfAnSQSBatchAreNotSent(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	p := faultproxy.New(t, e.URL())
	client, ctx := sqs.NewFromConfig(awsemu.Config(p.URL())), t.Context()
	queue, err := client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("tasks")})
	if err != nil {
		t.Fatal(err)
	}
	batch := &sqs.SendMessageBatchInput{QueueUrl: queue.QueueUrl}
	for _, id := range []string{"a", "b", "c"} {
		batch.Entries = append(batch.Entries, sqstypes.SendMessageBatchRequestEntry{Id: aws.String(id), MessageBody: aws.String("body " + id)})
	}
	p.Next(faultproxy.Operation("SendMessageBatch"), noneOfThree, twoOfThree)
	if none, err := client.SendMessageBatch(ctx, batch); err != nil || len(none.Failed) != 3 || len(none.Successful) != 0 {
		t.Fatalf("all failing: %+v, %v", none, err)
	}
	got, err := client.SendMessageBatch(ctx, batch)
	if err != nil || len(got.Failed) != 2 || len(got.Successful) != 1 || *got.Successful[0].Id != "b" {
		t.Fatalf("two failing: %+v, %v", got, err)
	}
	if f := got.Failed[1]; *f.Id != "c" || *f.Code != "InvalidMessageContents" || !f.SenderFault || got.Failed[0].SenderFault {
		t.Errorf("failed entries %+v", got.Failed)
	}
	held, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, MaxNumberOfMessages: 10})
	if err != nil || len(held.Messages) != 1 || *held.Messages[0].Body != "body b" {
		t.Errorf("the queue holds %+v, %v", held, err)
	}
}

func TestFailedEntriesOfAnSNSBatchAreNotPublished(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	p := faultproxy.New(t, e.URL())
	queues, topics, ctx := sqs.NewFromConfig(awsemu.Config(e.URL())), sns.NewFromConfig(awsemu.Config(p.URL())), t.Context()
	queue, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("tasks")})
	if err != nil {
		t.Fatal(err)
	}
	topic, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("events")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = topics.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(awsemu.ARN("sqs", "tasks")),
		Attributes: map[string]string{"RawMessageDelivery": "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	batch := &sns.PublishBatchInput{TopicArn: topic.TopicArn}
	for _, id := range []string{"a", "b", "c"} {
		batch.PublishBatchRequestEntries = append(batch.PublishBatchRequestEntries, snstypes.PublishBatchRequestEntry{
			Id: aws.String(id), Message: aws.String("body " + id),
			MessageAttributes: map[string]snstypes.MessageAttributeValue{"task_id": {DataType: aws.String("String"), StringValue: aws.String(id)}},
		})
	}
	p.Next(faultproxy.Operation("PublishBatch"), noneOfThree, twoOfThree)
	if none, err := topics.PublishBatch(ctx, batch); err != nil || len(none.Failed) != 3 || len(none.Successful) != 0 {
		t.Fatalf("all failing: %+v, %v", none, err)
	}
	got, err := topics.PublishBatch(ctx, batch)
	if err != nil || len(got.Failed) != 2 || len(got.Successful) != 1 || *got.Successful[0].Id != "b" {
		t.Fatalf("two failing: %+v, %v", got, err)
	}
	held, err := queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: queue.QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 5, MessageAttributeNames: []string{"All"},
	})
	if err != nil || len(held.Messages) != 1 || *held.Messages[0].Body != "body b" || *held.Messages[0].MessageAttributes["task_id"].StringValue != "b" {
		t.Errorf("the queue holds %+v, %v", held, err)
	}
}
