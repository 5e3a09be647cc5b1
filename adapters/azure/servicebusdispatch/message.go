package servicebusdispatch

import (
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/taskgate/taskgate/core/task"
)

// The most bytes of one attribute's value, and of all attributes together, names
// included.
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas
const (
	maxAttributeBytes  = 32 << 10
	maxAttributesBytes = 64<<10 - fixedBytes
)

// check refuses a message that no entity of the dispatcher ever takes.
func (d *Dispatcher) check(m task.Outgoing) error {
	most := d.maxBody()
	if int64(len(m.Body)) > most {
		return task.Errorf(task.MessageTooLarge, "the message has %d bytes, and Service Bus takes %d", len(m.Body), most)
	}
	all := 0
	for name, value := range m.Attributes {
		all += len(name) + len(value)
		if len(value) > maxAttributeBytes {
			return task.Errorf(task.MessageTooLarge, "the attribute %s has %d bytes, and Service Bus takes %d", name, len(value), maxAttributeBytes)
		}
	}
	if all > maxAttributesBytes || int64(size(m)) > most+headerBytes {
		return task.Errorf(task.MessageTooLarge, "the message has %d bytes of attributes, and Service Bus does not take as many", all)
	}
	if m.Group != "" && !d.options.RequiresSession {
		return task.Errorf(task.MessageRejected, "%s has no groups: it requires no sessions", m.Queue)
	}
	if rule := checkGroup(m.Group); rule != "" {
		return task.Errorf(task.MessageRejected, "the group %s", rule)
	}
	return nil
}

// due returns the time for which to schedule the message, rounded up to Service
// Bus's milliseconds because the message must not come early. It returns zero if
// the message is due already.
func due(m task.Outgoing, now time.Time) time.Time {
	if !m.Due.After(now) { // true of a zero Due, too
		return time.Time{}
	}
	return m.Due.Add(time.Millisecond - time.Nanosecond).Truncate(time.Millisecond)
}

// message builds a message. Its id is the task's: an entity with duplicate
// detection drops a message whose id it has seen.
func (d *Dispatcher) message(m task.Outgoing) *azservicebus.Message {
	out := &azservicebus.Message{
		Body:        m.Body,
		MessageID:   &m.ID,
		ContentType: new("application/json"),
	}
	if len(m.Attributes) > 0 {
		out.ApplicationProperties = make(map[string]any, len(m.Attributes))
		for name, value := range m.Attributes {
			out.ApplicationProperties[name] = value
		}
	}
	if d.options.RequiresSession {
		out.SessionID = &m.Group
		if m.Group == "" {
			out.SessionID = &m.ID
		}
	}
	return out
}

// fixedBytes is the most that a message takes beside its body and attributes:
// ids, names of fields and lengths.
const fixedBytes = 1 << 10

// size is the most bytes that a message takes in all.
func size(m task.Outgoing) int {
	n := fixedBytes + len(m.Body)
	for name, value := range m.Attributes {
		n += len(name) + len(value)
	}
	return n
}
