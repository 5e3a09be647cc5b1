// Package message is what a message of SQS and one of SNS have in common: a text
// and attributes that are counted together, and the ids that FIFO wants.
package message

import (
	"bytes"
	"cmp"
	"maps"
	"strings"

	"github.com/taskgate/taskgate/core/task"
)

// AttributeRoom is what the three attributes of every task may have together,
// their names and types included: a task's name alone may have 1,020 bytes.
const AttributeRoom = 1280

// MaxBody leaves room for the attributes in what a target takes. One so small
// that they would have a large part of it counts them when it is sent to.
func MaxBody(most int64) int64 { return most - min(AttributeRoom, most/4) }

// IsFIFO reports whether a queue or a topic is one, which its name says.
func IsFIFO(name string) bool { return strings.HasSuffix(name, ".fifo") }

// GroupMode says what a queue or a topic does with a group.
func GroupMode(name string) task.GroupMode {
	if IsFIFO(name) {
		return task.GroupOrder
	}
	return task.GroupNone
}

// AttributeType is the type of every attribute.
const AttributeType = "String"

// Message is a message as its target takes it.
type Message struct {
	Body                   string
	Attributes             map[string]string
	Group, DeduplicationID *string // of FIFO targets alone
	Bytes                  int64   // the body, and of each attribute its name, type and value
}

// New makes one for a target of a kind, "queue" or "topic", that takes so many
// bytes. Errors are [*task.Error].
func New(m task.Outgoing, kind string, most int64) (Message, error) {
	if int64(len(m.Body)) > MaxBody(most) {
		return Message{}, task.Errorf(task.MessageTooLarge, "the message has %d bytes, and the %s %s takes %d", len(m.Body), kind, m.Queue, MaxBody(most))
	}
	made := Message{Body: string(escape(m.Body)), Attributes: m.Attributes}
	if envelope, ok := m.Attributes[task.AttributeEnvelope]; ok {
		made.Attributes = maps.Clone(m.Attributes)
		made.Attributes[task.AttributeEnvelope] = string(escape([]byte(envelope)))
	}
	made.Bytes = int64(len(made.Body))
	for name, value := range made.Attributes {
		made.Bytes += int64(len(name) + len(AttributeType) + len(value))
	}
	if made.Bytes > most {
		return Message{}, task.Errorf(task.MessageTooLarge, "the message has %d bytes with its attributes, and the %s %s takes %d", made.Bytes, kind, m.Queue, most)
	}
	switch {
	case IsFIFO(m.Queue):
		made.DeduplicationID = new(m.ID)
		made.Group = new(cmp.Or(m.Group, m.ID))
	case m.Group != "":
		return Message{}, task.Errorf(task.MessageRejected, "the %s %s has no groups", kind, m.Queue)
	}
	return made, nil
}

// escape writes the two characters that JSON allows in a text and SQS, where
// most topics lead too, in no message, as JSON's escapes: they stand in strings
// alone.
func escape(text []byte) []byte {
	for _, refused := range [...][2]string{{"\ufffe", `\ufffe`}, {"\uffff", `\uffff`}} {
		if bytes.Contains(text, []byte(refused[0])) {
			text = bytes.ReplaceAll(text, []byte(refused[0]), []byte(refused[1]))
		}
	}
	return text
}

// ForSchedule returns m as it is put into a schedule, where the Scheduler would
// replace keywords that begin with <.
func ForSchedule(m task.Outgoing) task.Outgoing {
	m.Body = bytes.ReplaceAll(m.Body, []byte("<"), []byte(`\u003c`))
	return m
}
