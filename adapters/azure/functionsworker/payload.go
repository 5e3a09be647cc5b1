package functionsworker

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/worker"
)

// payload is an invocation of a function with one input: its trigger.
type payload struct {
	Data     map[string]jsontext.Value
	Metadata map[string]jsontext.Value
}

// propertyNames are the metadata in which a Service Bus trigger has a message's
// application properties: today's name, and the one before it.
// https://learn.microsoft.com/azure/azure-functions/functions-bindings-service-bus-trigger#message-metadata
var propertyNames = []string{"ApplicationProperties", "UserProperties"}

// parse reads an invocation as the delivery of a message. Storage queues have
// no properties, and their base64 the host has decoded.
func parse(body []byte) (worker.Delivery, error) {
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		return worker.Delivery{}, fmt.Errorf("read the payload: %w", err)
	}
	if len(p.Data) != 1 {
		return worker.Delivery{}, fmt.Errorf("the payload has %d inputs, want the trigger's alone", len(p.Data))
	}
	var d worker.Delivery
	for _, v := range p.Data {
		message, err := object(v)
		if err != nil {
			return worker.Delivery{}, fmt.Errorf("read the message: %w", err)
		}
		d.Body = message
	}
	for _, name := range propertyNames {
		properties, err := attributes(p.Metadata[name])
		if err != nil {
			return worker.Delivery{}, fmt.Errorf("read %s: %w", name, err)
		}
		if len(properties) > 0 {
			d.Attributes = properties
			break
		}
	}
	return d, nil
}

// object returns the JSON object that v has, byte for byte: the worker reads it,
// not this package. The host may give it as an object, as text, or, as it does
// today, as text in text.
func object(v jsontext.Value) (jsontext.Value, error) {
	for range 3 {
		switch v.Kind() {
		case '{':
			return v, nil
		case '"':
			var text string
			if err := json.Unmarshal(v, &text); err != nil {
				return nil, err
			}
			v = jsontext.Value(text)
		}
	}
	return nil, errors.New("it is not a JSON object")
}

// attributes returns the properties whose values are text. taskgate sets no others.
func attributes(v jsontext.Value) (map[string]string, error) {
	if len(v) == 0 || v.Kind() == 'n' {
		return nil, nil
	}
	raw, err := object(v)
	if err != nil {
		return nil, err
	}
	var all map[string]jsontext.Value
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for name, value := range all {
		if value.Kind() != '"' {
			continue
		}
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return nil, err
		}
		texts[name] = text
	}
	return texts, nil
}
