package awsemu

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Drain takes the messages out of the queue of that name until none has come for a second, and returns
// the texts of their attribute.
func Drain(t testing.TB, c *sqs.Client, queue, attribute string) (texts []string) {
	t.Helper()
	url, err := c.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: &queue})
	if err != nil {
		t.Fatal(err)
	}
	for {
		out, err := c.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: url.QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, MessageAttributeNames: []string{attribute},
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Messages) == 0 {
			return texts
		}
		done := &sqs.DeleteMessageBatchInput{QueueUrl: url.QueueUrl}
		for i, m := range out.Messages {
			texts = append(texts, aws.ToString(m.MessageAttributes[attribute].StringValue))
			done.Entries = append(done.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: m.ReceiptHandle})
		}
		if _, err := c.DeleteMessageBatch(t.Context(), done); err != nil {
			t.Fatal(err)
		}
	}
}
