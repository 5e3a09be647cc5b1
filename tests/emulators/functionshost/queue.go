package functionshost

import (
	"context"
	"encoding/base64"
	"errors"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
)

// pollInterval is the pause after an empty queue. The host starts at 100 ms and backs off to a minute:
// https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger#polling-algorithm
const pollInterval = 50 * time.Millisecond

// visibility is how long a message is hidden while it is handled; the host extends it.
const visibility = int32(600)

func (h *Host) listenStorage(f function) error {
	connection, err := h.connection(f, "AzureWebJobsStorage")
	if err != nil {
		return err
	}
	service, err := azqueue.NewServiceClientFromConnectionString(connection, nil)
	if err != nil {
		return err
	}
	queue, poison := service.NewQueueClient(f.trigger.QueueName), service.NewQueueClient(f.trigger.QueueName+"-poison")
	threshold := h.config.Extensions.Queues.NewBatchThreshold
	ended := make(chan struct{}, threshold+h.config.Extensions.Queues.BatchSize)
	h.work.Go(func() {
		timer := time.NewTimer(0)
		defer timer.Stop()
		for running := 0; ; {
			due := timer.C
			if running > threshold {
				due = nil
			}
			select {
			case <-h.ctx.Done():
				return
			case <-ended:
				running--
			case <-due:
				n := h.pollStorage(f, queue, poison, ended)
				running += n
				if n == 0 {
					timer.Reset(pollInterval)
				} else {
					timer.Reset(0)
				}
			}
		}
	})
	return nil
}

// pollStorage begins to handle a batch of messages and returns their number.
func (h *Host) pollStorage(f function, queue, poison *azqueue.QueueClient, ended chan<- struct{}) int {
	count, hidden := int32(h.config.Extensions.Queues.BatchSize), visibility
	got, err := queue.DequeueMessages(h.ctx, &azqueue.DequeueMessagesOptions{NumberOfMessages: &count, VisibilityTimeout: &hidden})
	if err != nil {
		return 0 // missing or away: the host keeps polling
	}
	for _, m := range got.Messages {
		h.work.Go(func() {
			h.handleStorage(f, queue, poison, m)
			ended <- struct{}{}
		})
	}
	return len(got.Messages)
}

// handleStorage invokes the function, and by the result deletes the message, shows it again at once,
// or, at the last dequeue, moves it to the poison queue.
// https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger#poison-messages
func (h *Host) handleStorage(f function, queue, poison *azqueue.QueueClient, m *azqueue.DequeuedMessage) {
	text, err := *m.MessageText, error(nil)
	last := *m.DequeueCount >= h.config.Extensions.Queues.MaxDequeueCount
	if h.config.Extensions.Queues.MessageEncoding == "base64" {
		var decoded []byte
		decoded, err = base64.StdEncoding.DecodeString(text)
		text, last = string(decoded), last || err != nil // what cannot be decoded is poison at once
	}
	if err == nil {
		err = h.invoke(h.ctx, f, text, map[string]any{
			"DequeueCount":    *m.DequeueCount,
			"Id":              *m.MessageID,
			"PopReceipt":      *m.PopReceipt,
			"InsertionTime":   m.InsertionTime.Format(time.RFC3339),
			"ExpirationTime":  m.ExpirationTime.Format(time.RFC3339),
			"NextVisibleTime": m.TimeNextVisible.Format(time.RFC3339),
		})
	}
	// The message's fate is settled even while the host stops.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.ctx), stopPatience)
	defer cancel()
	switch {
	case err == nil:
		_, _ = queue.DeleteMessage(ctx, *m.MessageID, *m.PopReceipt, nil)
	case last:
		if enqueueOrCreate(ctx, poison, *m.MessageText) == nil {
			_, _ = queue.DeleteMessage(ctx, *m.MessageID, *m.PopReceipt, nil)
		}
	default:
		now := int32(0)
		_, _ = queue.UpdateMessage(ctx, *m.MessageID, *m.PopReceipt, *m.MessageText, &azqueue.UpdateMessageOptions{VisibilityTimeout: &now})
	}
}

func enqueueOrCreate(ctx context.Context, queue *azqueue.QueueClient, text string) error {
	_, err := queue.EnqueueMessage(ctx, text, nil)
	if missing := (*azcore.ResponseError)(nil); errors.As(err, &missing) && missing.StatusCode == 404 {
		if _, err = queue.Create(ctx, nil); err == nil {
			_, err = queue.EnqueueMessage(ctx, text, nil)
		}
	}
	return err
}
