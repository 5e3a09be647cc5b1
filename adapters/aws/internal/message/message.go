// Package message builds what the messages of SQS and SNS have in common: a text
// and attributes that count together, and the ids of FIFO queues and topics.
package message

import (
	"bytes"
	"cmp"
	"maps"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/adapters/aws/schedule"
	"github.com/taskgate/taskgate/core/task"
)

// AttributeRoom is how many bytes the three attributes of a task may have
// together, with their names and types: a task's name alone may have 1,020 bytes.
const AttributeRoom = 1280

// MaxBody returns how large a body may be where a target takes so many bytes: it
// leaves room for the attributes. Where they would need a large part of it, they
// are counted when the message is sent.
func MaxBody(limit int64) int64 { return limit - min(AttributeRoom, limit/4) }

// IsFIFO reports whether a queue or a topic is FIFO; its name says so.
func IsFIFO(name string) bool { return strings.HasSuffix(name, ".fifo") }

// AttributeType is the type of every attribute.
const AttributeType = "String"

// Message is a message as its target takes it.
type Message struct {
	Body                   string
	Attributes             map[string]string
	Group, DeduplicationID *string // nil = none
	Bytes                  int64   // the body, and the name, type and value of each attribute
}

// New returns m as it is sent to a target that takes limit bytes. The kind of the
// target, "queue" or "topic", is for errors, which are [*task.Error].
func New(m task.Outgoing, kind string, groups task.GroupMode, limit int64) (Message, error) {
	if int64(len(m.Body)) > MaxBody(limit) {
		return Message{}, task.Errorf(task.MessageTooLarge, "the message has %d bytes, and the %s %s takes %d", len(m.Body), kind, m.Queue, MaxBody(limit))
	}
	if m.Route == schedule.Route {
		// Nothing says whether the Scheduler replaces keywords before it reads its
		// input, where they are escaped already, or in the strings that it has read.
		m.Body = schedule.EscapeKeywords(m.Body)
	}
	if rule := CheckTaskName(m.Attributes[task.AttributeTaskName]); rule != "" {
		return Message{}, task.Errorf(task.MessageRejected, "the task's name %s", rule)
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
	if made.Bytes > limit {
		return Message{}, task.Errorf(task.MessageTooLarge, "the message has %d bytes with its attributes, and the %s %s takes %d", made.Bytes, kind, m.Queue, limit)
	}
	if IsFIFO(m.Queue) {
		made.DeduplicationID = &m.ID
		m.Group = cmp.Or(m.Group, m.ID)
	}
	switch {
	case m.Group == "":
		return made, nil
	case !groups.Supported():
		return Message{}, task.Errorf(task.MessageRejected, "the %s %s has no groups", kind, m.Queue)
	}
	if rule := CheckGroup(m.Group); rule != "" {
		return Message{}, task.Errorf(task.MessageRejected, "the group %s", rule)
	}
	made.Group = &m.Group
	return made, nil
}

// CheckGroup returns the rule of a MessageGroupId that a group breaks, or "".
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
// https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
func CheckGroup(group string) string {
	if len(group) > 128 || strings.ContainsFunc(group, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "must be 1 to 128 ASCII letters, digits and punctuation characters, without spaces"
	}
	return ""
}

// CheckTaskName returns the rule that a task's name breaks, or "". The name is an
// attribute, and attributes have no escape for the two characters that SQS, where
// most topics lead too, refuses. The contract allows no control characters in names.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
func CheckTaskName(name string) string {
	if strings.ContainsAny(name, "\ufffe\uffff") {
		return "must not contain U+FFFE or U+FFFF, which this target refuses"
	}
	return ""
}

// escape writes the two characters that JSON strings may have and SQS refuses as
// JSON escapes.
func escape(text []byte) []byte {
	for _, refused := range [...][2]string{{"\ufffe", `\ufffe`}, {"\uffff", `\uffff`}} {
		if bytes.Contains(text, []byte(refused[0])) {
			text = bytes.ReplaceAll(text, []byte(refused[0]), []byte(refused[1]))
		}
	}
	return text
}

// Request returns the API request that sends m, in JSON. The request has the
// target's address in the member named by address, and the text in the one named
// by body.
func (m Message) Request(address, target, body string) ([]byte, error) {
	type attribute struct{ DataType, StringValue string }
	attributes := make(map[string]attribute, len(m.Attributes))
	for name, value := range m.Attributes {
		attributes[name] = attribute{AttributeType, value}
	}
	request := map[string]any{address: target, body: m.Body, "MessageAttributes": attributes}
	if m.Group != nil {
		request["MessageGroupId"] = *m.Group
	}
	if m.DeduplicationID != nil {
		request["MessageDeduplicationId"] = *m.DeduplicationID
	}
	data, err := json.Marshal(request, json.Deterministic(true))
	if err != nil {
		return nil, &task.Error{Kind: task.MessageRejected, Msg: "the message cannot be scheduled", Err: err}
	}
	return data, nil
}

// ValidName reports whether a queue or topic may have this name: at most limit
// characters, with ".fifo" at the end of a FIFO one's.
func ValidName(name string, limit int) bool {
	return len(name) <= limit && IsName(strings.TrimSuffix(name, ".fifo"), limit)
}

// IsName reports whether text is 1 to limit ASCII letters, digits, "-" and "_".
func IsName(text string, limit int) bool {
	return text != "" && len(text) <= limit && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}
