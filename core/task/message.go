package task

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MessageVersion is the v of the messages that this package builds.
const MessageVersion = 1

// Message is what a worker receives: django-tasks-cloud's documented three
// keys first, then what it takes to report. Absent values are left out.
type Message struct {
	TaskName string         `json:"task_name"`
	Args     jsontext.Value `json:"args,omitzero"`   // absent when Offloaded
	Kwargs   jsontext.Value `json:"kwargs,omitzero"` // absent when Offloaded
	Envelope
}

// Envelope is the part of a message beside the documented three keys. A plain
// payload carries it in the attribute [AttributeEnvelope] instead.
type Envelope struct {
	ID           string            `json:"id"`
	V            int               `json:"v"`
	EnqueuedAt   Time              `json:"enqueued_at"`
	EventsURL    string            `json:"events_url"` // where reports are POSTed
	Token        string            `json:"token"`      // what they carry in Taskgate-Token
	MaxAttempts  int               `json:"max_attempts,omitzero"`
	ExpiresAt    Time              `json:"expires_at,omitzero"`
	TakesContext bool              `json:"takes_context,omitzero"`
	Metadata     map[string]string `json:"metadata,omitempty"`
	Traceparent  string            `json:"traceparent,omitzero"` // W3C Trace Context
	Tracestate   string            `json:"tracestate,omitzero"`
	Offloaded    bool              `json:"offloaded,omitzero"` // the started event hands over args and kwargs
}

// The attributes that a message carries wherever its target has attributes.
const (
	AttributeTaskID      = "task_id"
	AttributeTaskName    = "task_name"
	AttributeTraceparent = "traceparent"
	AttributeEnvelope    = "taskgate" // of a plain payload only: the Envelope as JSON
)

// JSONOptions are how everything is encoded: raw values byte for byte as they
// are, and maps in the order of their names. Raw values were checked when they
// came in, and are not checked again.
var JSONOptions = json.JoinOptions(
	jsontext.PreserveRawStrings(true),
	json.Deterministic(true),
	jsontext.AllowDuplicateNames(true),
	jsontext.AllowInvalidUTF8(true),
)

func encode(v any) ([]byte, error) { return json.Marshal(v, JSONOptions) }

// newMessage builds the message of a draft's record, as the limits of its target
// ask. The token outlives the record, so that every report that can still be
// repeated can be authorised.
func (s *Service) newMessage(d *draft, limits Limits, args, kwargs jsontext.Value) (Outgoing, error) {
	r := d.rec
	out, offloaded, err := outgoing(Message{
		TaskName: r.TaskName,
		Args:     args,
		Kwargs:   kwargs,
		Envelope: Envelope{
			ID:           r.ID,
			V:            MessageVersion,
			EnqueuedAt:   r.EnqueuedAt,
			EventsURL:    d.call.BaseURL + "/v1/tasks/" + r.ID + "/events",
			Token:        s.Tokens.Sign(r.ID, r.EnqueuedAt, r.DeleteAfter.Add(s.ResultTTL)),
			MaxAttempts:  r.MaxAttempts,
			ExpiresAt:    r.ExpiresAt,
			TakesContext: r.TakesContext,
			Metadata:     r.Metadata,
			Traceparent:  d.call.Traceparent,
			Tracestate:   d.call.Tracestate,
		},
	}, d.backend.Plain, limits)
	if err != nil {
		return Outgoing{}, err
	}
	out.Queue, out.Group, out.Due = r.QueueName, r.Group, r.RunAfter
	r.Offloaded = offloaded
	return out, nil
}

// outgoing builds the message of a record, as the limits of its target ask:
// plain or not, whole or with its arguments offloaded.
func outgoing(m Message, plain bool, limits Limits) (out Outgoing, offloaded bool, err error) {
	body, attributes, err := m.encode(plain)
	if err == nil && limits.tooLarge(body) && !plain {
		m.Args, m.Kwargs, m.Offloaded = nil, nil, true
		body, attributes, err = m.encode(plain)
	}
	switch {
	case err != nil:
		return Outgoing{}, false, &Error{Kind: Internal, Msg: "cannot encode the message", Err: err}
	case limits.tooLarge(body):
		return Outgoing{}, false, Errorf(MessageTooLarge,
			"the message has %d bytes, and the target takes %d", len(body), *limits.MaxMessageBytes)
	}
	return Outgoing{ID: m.ID, Route: limits.Route, Body: body, Attributes: attributes}, m.Offloaded, nil
}

func (l Limits) tooLarge(body []byte) bool {
	return l.MaxMessageBytes != nil && int64(len(body)) > *l.MaxMessageBytes
}

func (m Message) encode(plain bool) (body []byte, attributes map[string]string, err error) {
	attributes = map[string]string{AttributeTaskID: m.ID, AttributeTaskName: m.TaskName}
	if m.Traceparent != "" {
		attributes[AttributeTraceparent] = m.Traceparent
	}
	if !plain {
		body, err = encode(m)
		return body, attributes, err
	}
	envelope, err := encode(m.Envelope)
	if err != nil {
		return nil, nil, err
	}
	attributes[AttributeEnvelope] = string(envelope)
	body, err = encode(struct {
		TaskName string         `json:"task_name"`
		Args     jsontext.Value `json:"args"`
		Kwargs   jsontext.Value `json:"kwargs"`
	}{m.TaskName, m.Args, m.Kwargs})
	return body, attributes, err
}

// ParseMessage reads a message as a worker receives it: its body and, for a
// plain payload, the attributes that came beside it.
func ParseMessage(body []byte, attributes map[string]string) (Message, error) {
	var m Message
	if err := json.Unmarshal(body, &m); err != nil {
		return Message{}, err
	}
	if envelope := attributes[AttributeEnvelope]; m.ID == "" && envelope != "" {
		if err := json.Unmarshal([]byte(envelope), &m.Envelope); err != nil {
			return Message{}, err
		}
	}
	return m, nil
}
