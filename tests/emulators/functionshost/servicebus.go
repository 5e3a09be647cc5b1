package functionshost

import (
	"context"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
)

func (h *Host) listenBus(f function) error {
	connection, err := h.connection(f, "AzureWebJobsServiceBus")
	if err != nil {
		return err
	}
	client, err := azservicebus.NewClientFromConnectionString(connection, &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{RetryDelay: pollInterval, MaxRetryDelay: time.Second},
	})
	if err != nil {
		return err
	}
	var receiver *azservicebus.Receiver
	if f.trigger.TopicName != "" {
		receiver, err = client.NewReceiverForSubscription(f.trigger.TopicName, f.trigger.SubscriptionName, nil)
	} else {
		receiver, err = client.NewReceiverForQueue(f.trigger.QueueName, nil)
	}
	if err != nil {
		return err
	}
	h.work.Go(func() {
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
			defer cancel()
			_ = client.Close(ctx)
		}()
		pause := time.NewTimer(0)
		defer pause.Stop()
		for h.ctx.Err() == nil {
			messages, err := receiver.ReceiveMessages(h.ctx, h.config.Extensions.ServiceBus.MaxConcurrentCalls, nil)
			if err != nil { // away or missing: the host keeps trying
				pause.Reset(pollInterval)
				select {
				case <-pause.C:
				case <-h.ctx.Done():
				}
				continue
			}
			var batch sync.WaitGroup
			for _, m := range messages {
				batch.Go(func() { h.handleBus(f, receiver, m) })
			}
			batch.Wait()
		}
	})
	return nil
}

// handleBus invokes the function, and by the result completes or abandons the message; Service Bus
// itself dead-letters at the last delivery.
// https://learn.microsoft.com/azure/azure-functions/functions-bindings-service-bus-trigger#peeklock-behavior
func (h *Host) handleBus(f function, receiver *azservicebus.Receiver, m *azservicebus.ReceivedMessage) {
	metadata := map[string]any{
		"MessageId":             m.MessageID,
		"DeliveryCount":         m.DeliveryCount,
		"ApplicationProperties": m.ApplicationProperties,
		"UserProperties":        m.ApplicationProperties,
	}
	for name, value := range map[string]*string{
		"ContentType": m.ContentType, "CorrelationId": m.CorrelationID, "Subject": m.Subject, "Label": m.Subject,
		"SessionId": m.SessionID, "ReplyTo": m.ReplyTo, "To": m.To,
	} {
		if value != nil {
			metadata[name] = *value
		}
	}
	for name, value := range map[string]*time.Time{"EnqueuedTimeUtc": m.EnqueuedTime, "ExpiresAtUtc": m.ExpiresAt} {
		if value != nil {
			metadata[name] = value.UTC().Format(time.RFC3339Nano)
		}
	}
	if m.SequenceNumber != nil {
		metadata["SequenceNumber"] = *m.SequenceNumber
	}
	err := h.invoke(h.ctx, f, string(m.Body), metadata)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.ctx), stopPatience)
	defer cancel()
	if err == nil {
		_ = receiver.CompleteMessage(ctx, m, nil)
	} else {
		_ = receiver.AbandonMessage(ctx, m, nil)
	}
}
