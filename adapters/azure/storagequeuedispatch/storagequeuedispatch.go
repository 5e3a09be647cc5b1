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

// Route is the only way that a message goes here, due at once or later.
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

// forever is the time to live of a message that does not expire. The service's
// default, 7 days, would lose what is hidden for so long, and drop in silence
// what no worker took in time.
const forever = -1

// answerTime bounds one call, its retry included.
const answerTime = 10 * time.Second

// ClientOptions returns the options that a client needs to be bounded: one
// quick retry, for the refusals and broken connections of an ordinary day. A
// message whose answer was lost is then sent twice, as it is when the client
// repeats its request: this service cannot tell.
func ClientOptions() *azqueue.ClientOptions {
	return &azqueue.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: httpclient.New(),
		Retry: policy.RetryOptions{
			MaxRetries: 1, RetryDelay: 100 * time.Millisecond, MaxRetryDelay: time.Second, TryTimeout: 4 * time.Second,
		},
	}}
}

// Options are what is known of the queues and their workers beforehand.
type Options struct {
	MaxDeliveries int64            // maxDequeueCount of the workers' host.json; 0 = unknown
	Now           func() time.Time // nil = time.Now
}

// Dispatcher sends to the queues of one storage account. It is a [task.Dispatcher].
type Dispatcher struct {
	client        *azqueue.ServiceClient
	maxDeliveries int64
	now           func() time.Time
}

// New returns a dispatcher that sends with client, whose options should be
// [ClientOptions].
func New(client *azqueue.ServiceClient, o Options) *Dispatcher {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Dispatcher{client: client, maxDeliveries: o.MaxDeliveries, now: o.Now}
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

// Dispatch implements [task.Dispatcher]. A queue has no duplicate detection: an
// id that comes again is another message. Attributes are left out: a message
// has none. The receipt names what deletes a message, where that is worth
// storing: one that is due at once is soon a worker's.
func (d *Dispatcher) Dispatch(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
	text, options, err := input(m, d.now())
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

// input builds what the SDK is given. Delays are whole seconds, and a message
// must not come early.
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
