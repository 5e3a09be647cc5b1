package task

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MessageVersion is the v of the messages that this package builds.
const MessageVersion = 1

// Message is what a worker receives: the three keys that django-tasks-cloud
// documents, then everything that is needed to report. Absent values are left out.
type Message struct {
	TaskName string         `json:"task_name"`
	Args     jsontext.Value `json:"args,omitzero"`   // absent when Offloaded
	Kwargs   jsontext.Value `json:"kwargs,omitzero"` // absent when Offloaded
	Envelope
}

// Envelope is the rest of a message. With a plain payload it is in the attribute
// [AttributeEnvelope] instead.
type Envelope struct {
	ID           string            `json:"id"`
	V            int               `json:"v"`
	EnqueuedAt   Time              `json:"enqueued_at"`
	EventsURL    string            `json:"events_url"` // where reports are POSTed
	Token        string            `json:"token"`      // what they carry in Taskgate-Token
	QueueName    string            `json:"queue_name"`
	Backend      string            `json:"backend"`
	Priority     int               `json:"priority,omitzero"`
	RunAfter     Time              `json:"run_after,omitzero"`
	MaxAttempts  int               `json:"max_attempts,omitzero"`
	ExpiresAt    Time              `json:"expires_at,omitzero"`
	TakesContext bool              `json:"takes_context,omitzero"`
	Metadata     map[string]string `json:"metadata,omitempty"`
	Traceparent  string            `json:"traceparent,omitzero"` // W3C Trace Context
	Tracestate   string            `json:"tracestate,omitzero"`
	Offloaded    bool              `json:"offloaded,omitzero"` // the started event hands over args and kwargs
}

// The attributes of a message, on targets that have attributes.
const (
	AttributeTaskID      = "task_id"
	AttributeTaskName    = "task_name"
	AttributeTraceparent = "traceparent"
	AttributeEnvelope    = "taskgate" // of a plain payload only: the Envelope as JSON
)

// JSONOptions are used for all encoding. Raw values keep their bytes, and members of
// maps are sorted by name. Raw values were checked when they were read, and are not
// checked again.
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
			QueueName:    r.QueueName,
			Backend:      r.Backend,
			Priority:     r.Priority,
			RunAfter:     r.RunAfter,
			MaxAttempts:  r.MaxAttempts,
			ExpiresAt:    r.ExpiresAt,
			TakesContext: r.TakesContext,
			Metadata:     r.Metadata,
			Traceparent:  d.call.Traceparent,
			Tracestate:   d.call.Tracestate,
		},
	}, d.backend.Payload, limits)
	if err != nil {
		return Outgoing{}, err
	}
	out.Queue, out.Group, out.Due = r.physicalQueue(), r.Group, r.RunAfter
	if limits.SupportsPriority {
		out.Priority = r.Priority
	}
	r.Offloaded = offloaded
	return out, nil
}

// outgoing encodes a message. If it is too large for its target, the arguments are
// offloaded: the message goes without them, where the payload allows it.
func outgoing(m Message, payload Payload, limits Limits) (out Outgoing, offloaded bool, err error) {
	body, attributes, err := m.encode(payload)
	if err == nil && limits.tooLarge(body) && payload.carriesEnvelope() {
		m.Args, m.Kwargs, m.Offloaded = nil, nil, true
		body, attributes, err = m.encode(payload)
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

func (m Message) encode(payload Payload) (body []byte, attributes map[string]string, err error) {
	attributes = map[string]string{AttributeTaskID: m.ID, AttributeTaskName: m.TaskName}
	if m.Traceparent != "" {
		attributes[AttributeTraceparent] = m.Traceparent
	}
	if payload.carriesEnvelope() {
		body, err = encode(m)
		return body, attributes, err
	}
	envelope, err := encode(m.Envelope)
	if err != nil {
		return nil, nil, err
	}
	attributes[AttributeEnvelope] = string(envelope)
	if payload == PayloadDjango {
		body, err = encode(struct {
			Task   string         `json:"task"`
			Args   jsontext.Value `json:"args"`
			Kwargs jsontext.Value `json:"kwargs"`
		}{m.TaskName, m.Args, m.Kwargs})
		return body, attributes, err
	}
	body, err = encode(struct {
		TaskName string         `json:"task_name"`
		Args     jsontext.Value `json:"args"`
		Kwargs   jsontext.Value `json:"kwargs"`
	}{m.TaskName, m.Args, m.Kwargs})
	return body, attributes, err
}

// ParseMessage reads a message that a worker has received: its body and, for a plain
// payload, its attributes.
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
