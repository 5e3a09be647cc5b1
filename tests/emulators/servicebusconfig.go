package emulators

import (
	"encoding/json"
	"time"
)

// ServiceBusConfig lists the entities of a namespace and the shared access keys that open it.
type ServiceBusConfig struct {
	Queues map[string]BusQueue `json:"queues,omitempty"`
	Topics map[string]BusTopic `json:"topics,omitempty"`
	// Keys maps key names to keys; nil is the one key that package azureemu uses.
	Keys map[string]string `json:"keys,omitempty"`
}

// BusTopic is a topic with its subscriptions.
type BusTopic struct {
	BusQueue
	Subscriptions map[string]BusQueue
}

// BusQueue holds the options of a queue or a subscription. Zero values mean Service Bus' defaults:
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas
type BusQueue struct {
	LockDuration               time.Duration // default 1 min
	MaxDeliveryCount           int           // default 10
	RequiresDuplicateDetection bool
	DuplicateDetectionWindow   time.Duration // default 10 min
	RequiresSession            bool
	DefaultTimeToLive          time.Duration // default: for ever
	DeadLetterOnExpiration     bool
	MaxMessageSize             int // bytes; default 262144, the Standard tier's

	// Refuse is an AMQP condition with which every send is rejected: "com.microsoft:server-busy" is
	// throttling, "amqp:resource-limit-exceeded" a full entity.
	// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-troubleshoot
	Refuse string
	// LoseAnswers is the number of sends (and schedulings) that are applied, and whose connection
	// breaks before the answer.
	LoseAnswers int
}

// wire is BusQueue and BusTopic as servicebus.mjs reads them: durations are milliseconds.
type wire struct {
	LockDuration               int64               `json:"lockDurationMs,omitempty"`
	MaxDeliveryCount           int                 `json:"maxDeliveryCount,omitempty"`
	RequiresDuplicateDetection bool                `json:"requiresDuplicateDetection,omitempty"`
	DuplicateDetectionWindow   int64               `json:"duplicateDetectionWindowMs,omitempty"`
	RequiresSession            bool                `json:"requiresSession,omitempty"`
	DefaultTimeToLive          int64               `json:"defaultTimeToLiveMs,omitempty"`
	DeadLetterOnExpiration     bool                `json:"deadLetterOnExpiration,omitempty"`
	MaxMessageSize             int                 `json:"maxMessageSize,omitempty"`
	Refuse                     string              `json:"refuse,omitempty"`
	LoseAnswers                int                 `json:"loseAnswers,omitempty"`
	Subscriptions              map[string]BusQueue `json:"subscriptions,omitempty"`
}

func (q BusQueue) wire() wire {
	return wire{
		LockDuration:               q.LockDuration.Milliseconds(),
		MaxDeliveryCount:           q.MaxDeliveryCount,
		RequiresDuplicateDetection: q.RequiresDuplicateDetection,
		DuplicateDetectionWindow:   q.DuplicateDetectionWindow.Milliseconds(),
		RequiresSession:            q.RequiresSession,
		DefaultTimeToLive:          q.DefaultTimeToLive.Milliseconds(),
		DeadLetterOnExpiration:     q.DeadLetterOnExpiration,
		MaxMessageSize:             q.MaxMessageSize,
		Refuse:                     q.Refuse,
		LoseAnswers:                q.LoseAnswers,
	}
}

// MarshalJSON writes the options as servicebus.mjs reads them.
func (q BusQueue) MarshalJSON() ([]byte, error) { return json.Marshal(q.wire()) }

// MarshalJSON writes the topic as servicebus.mjs reads it.
func (t BusTopic) MarshalJSON() ([]byte, error) {
	w := t.wire()
	w.Subscriptions = t.Subscriptions
	return json.Marshal(w)
}
