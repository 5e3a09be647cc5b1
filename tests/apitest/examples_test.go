package apitest_test

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/tests/apitest"
)

// The parts of the document that carry examples.
type (
	document struct {
		Paths      map[string]map[string]json.RawMessage // an operation for each method, beside parameters
		Webhooks   map[string]map[string]operation
		Components struct {
			Examples  map[string]example
			Responses map[string]response
			Headers   map[string]header
		}
	}
	operation struct {
		OperationID string `json:"operationId"`
		RequestBody content
		Responses   map[string]response
	}
	response struct {
		content
		Ref     string `json:"$ref"`
		Headers map[string]header
	}
	content struct {
		Content map[string]struct{ Examples map[string]example }
	}
	header struct {
		Ref      string `json:"$ref"`
		Required bool
		Example  json.RawMessage
	}
	example struct {
		Ref   string `json:"$ref"`
		Value json.RawMessage
	}
)

// resolved follows a reference to one of the components, if there is one.
func resolved[T any](ref string, here T, components map[string]T) T {
	if ref == "" {
		return here
	}
	return components[ref[strings.LastIndexByte(ref, '/')+1:]]
}

// bodies returns the examples of a body, by media type and name.
func (d document) bodies(c content) map[string]map[string]string {
	all := map[string]map[string]string{}
	for mediaType, media := range c.Content {
		all[mediaType] = map[string]string{}
		for name, e := range media.Examples {
			all[mediaType][name] = string(resolved(e.Ref, e, d.Components.Examples).Value)
		}
	}
	return all
}

func TestTheExamplesKeepTheContract(t *testing.T) {
	var d document
	if err := json.Unmarshal(httpapi.OpenAPI(), &d); err != nil {
		t.Fatal(err)
	}
	tried := map[string]bool{}
	for path, item := range d.Paths {
		for _, method := range []string{"get", "post"} {
			var op operation
			if item[method] == nil {
				continue
			}
			if err := json.Unmarshal(item[method], &op); err != nil {
				t.Fatal(err)
			}
			base := trip{method: strings.ToUpper(method), url: strings.ReplaceAll(path, "{id}", id)}
			d.tryRequests(t, op, base)
			for status, r := range op.Responses {
				d.tryResponses(t, op, base, status, resolved(r.Ref, r, d.Components.Responses))
			}
			tried[op.OperationID] = true
		}
	}
	for name, body := range d.bodies(d.Webhooks["message"]["post"].RequestBody)["application/json"] {
		if err := apitest.Check("Message", []byte(body)); err != nil {
			t.Errorf("message %s: %v", name, err)
		}
		tried["message"] = true
	}
	if len(tried) != 11 {
		t.Errorf("tried %v, want ten operations and the message", tried)
	}
}

// tryRequests sends each example of a request, and has it answered with a
// gateway's 429, which is in the contract everywhere.
func (d document) tryRequests(t *testing.T, op operation, base trip) {
	for mediaType, examples := range d.bodies(op.RequestBody) {
		if len(examples) == 0 {
			t.Errorf("%s: no example of a request", op.OperationID)
		}
		for name, body := range examples {
			trip := asked(answered(base, 429, ""), body)
			trip.ask = map[string]string{"Content-Type": mediaType}
			if _, _, err := run(t.Context(), trip); err != nil {
				t.Errorf("%s, request %s: %v", op.OperationID, name, err)
			}
		}
	}
}

// tryResponses answers with each example of a response, with its examples of the
// headers that are required.
func (d document) tryResponses(t *testing.T, op operation, base trip, status string, r response) {
	for mediaType, examples := range d.bodies(r.content) {
		if len(examples) == 0 && status[0] == '2' {
			t.Errorf("%s: no example of %s", op.OperationID, status)
		}
		for name, body := range examples {
			code, err := strconv.Atoi(status)
			if err != nil {
				t.Fatal(err)
			}
			trip := bad(with(answered(base, code, body), func(t *trip) { t.headers["Content-Type"] = mediaType }))
			for name, h := range r.Headers {
				if h = resolved(h.Ref, h, d.Components.Headers); h.Required {
					trip.headers[name] = text(h.Example)
				}
			}
			if _, _, err := run(t.Context(), trip); err != nil {
				t.Errorf("%s, response %s %s: %v", op.OperationID, status, name, err)
			}
			if location := trip.headers["Location"]; location != "" {
				if u, err := url.Parse(location); err != nil || u.Path != "/v1/tasks/"+id {
					t.Errorf("%s: Location is %q", op.OperationID, location)
				}
			}
		}
	}
}

// text returns a header's example as it is sent.
func text(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) != nil {
		return string(v)
	}
	return s
}
