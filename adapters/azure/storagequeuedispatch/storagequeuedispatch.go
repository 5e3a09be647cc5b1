// Package storagequeuedispatch sends tasks to Azure Storage queues.
package storagequeuedispatch

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"github.com/taskgate/taskgate/adapters/azure/httpclient"
	"github.com/taskgate/taskgate/core/task"
)

// Route is the only route of this dispatcher, for messages due now or later.
const Route = "storagequeue"

// A message has 64 KiB at most after it was encoded, and base64 makes four
// bytes of three. It is hidden for 7 days at most.
// https://learn.microsoft.com/azure/storage/queues/scalability-targets
// https://learn.microsoft.com/rest/api/storageservices/put-message
const (
	maxEncodedBytes = 64 << 10
	MaxMessageBytes = maxEncodedBytes / 4 * 3 // 49152
	MaxDelay        = 7 * 24 * time.Hour
)

// forever is the time to live of a message that does not expire. With the
// service's default, 7 days, a message that is hidden for so long, or that no
// worker takes in time, would be dropped silently. It also makes every visibility
// timeout valid: that must be below the time to live.
const forever = -1

// answerTime bounds one call, its retry included.
const answerTime = 10 * time.Second

// ClientOptions returns the options that bound a client: one quick retry, for
// ordinary refusals and broken connections. A message whose answer was lost is
// then sent twice, because the service has no duplicate detection.
func ClientOptions() *azqueue.ClientOptions {
	return &azqueue.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: httpclient.New(),
		Retry: policy.RetryOptions{
			MaxRetries: 1, RetryDelay: 100 * time.Millisecond, MaxRetryDelay: time.Second, TryTimeout: 4 * time.Second,
		},
	}}
}

// Dispatcher sends to the queues of one storage account. It is a [task.Dispatcher].
type Dispatcher struct {
	client        *azqueue.ServiceClient
	maxDeliveries int64
}

// New returns a dispatcher that sends with client, whose options should be
// [ClientOptions]. maxDeliveries is maxDequeueCount of the workers' host.json;
// 0 = unknown.
func New(client *azqueue.ServiceClient, maxDeliveries int64) *Dispatcher {
	return &Dispatcher{client, maxDeliveries}
}

// Limits implements [task.Dispatcher].
func (d *Dispatcher) Limits(context.Context, string, time.Duration) task.Limits {
	l := task.Limits{
		Route:           Route,
		SupportsDefer:   true,
		MaxDelaySeconds: new(int64(MaxDelay / time.Second)),
		SupportsCancel:  true, // until a message is due
		MaxMessageBytes: new(int64(MaxMessageBytes)),
	}
	if d.maxDeliveries > 0 {
		l.MaxDeliveries = new(d.maxDeliveries)
	}
	return l
}

// Dispatch implements [task.Dispatcher]. Storage queues have no duplicate
// detection: an id that comes again is another message. Their messages have no
// attributes, so those are left out. The receipt of a delayed message names what
// deletes it. For a message that is due now that is not worth a third write: a
// worker soon has it.
func (d *Dispatcher) Dispatch(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
	text, options, err := input(m, time.Now())
	if err != nil {
		return task.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	answer, err := d.client.NewQueueClient(m.Queue).EnqueueMessage(ctx, text, options)
	if err != nil {
		return task.Receipt{}, translate(err, m.Queue)
	}
	var r task.Receipt
	for _, accepted := range answer.Messages { // there is one
		if accepted.MessageID != nil {
			r.MessageID = *accepted.MessageID
		}
		if *options.VisibilityTimeout > 0 && accepted.PopReceipt != nil {
			r.CancelRef = cancelRef(r.MessageID, *accepted.PopReceipt)
		}
	}
	return r, nil
}

// input builds the arguments for the SDK. Delays are whole seconds, rounded up,
// because a message must not come early.
func input(m task.Outgoing, now time.Time) (text string, o *azqueue.EnqueueMessageOptions, err error) {
	if len(m.Body) > MaxMessageBytes {
		return "", nil, task.Errorf(task.MessageTooLarge, "the message has %d bytes, and a Storage queue takes %d", len(m.Body), MaxMessageBytes)
	}
	if m.Group != "" {
		return "", nil, task.Errorf(task.MessageRejected, "Storage queues have no groups")
	}
	var delay time.Duration
	if m.Due.After(now) {
		delay = m.Due.Sub(now)
	}
	if delay > MaxDelay {
		return "", nil, task.Errorf(task.MessageRejected, "a Storage queue delays a message by %d seconds at most", MaxDelay/time.Second)
	}
	return base64.StdEncoding.EncodeToString(m.Body), &azqueue.EnqueueMessageOptions{
		TimeToLive:        new(int32(forever)),
		VisibilityTimeout: new(int32((delay + time.Second - 1) / time.Second)),
	}, nil
}

// Cancel implements [task.Dispatcher]. It deletes a message that no worker has
// taken yet.
func (d *Dispatcher) Cancel(ctx context.Context, s task.Sent) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	id, popReceipt, found := strings.Cut(s.CancelRef, separator)
	if !found {
		return translate(ctx.Err(), s.Queue) // nothing was kept: it stays
	}
	_, err := d.client.NewQueueClient(s.Queue).DeleteMessage(ctx, id, popReceipt, nil)
	if gone(err) {
		return nil
	}
	return translate(err, s.Queue)
}

// separator is in neither a message's id nor its receipt.
const separator = " "

func cancelRef(id, popReceipt string) string { return id + separator + popReceipt }
