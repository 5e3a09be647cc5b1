// Package taskgate holds the contract's one source: the description of the
// wire, for the handler that serves it and the tests that hold everything to it.
//
// openapi.yaml is what people edit. The JSON beside it is made from it ahead of
// time, so that no binary links a YAML parser or pays for one at start; a test
// fails while the two differ.
package httpapi

import (
	"bytes"
	_ "embed"
)

//go:generate go test -run TestOpenAPIJSONIsMadeFromTheYAML . -update

//go:embed openapi.json
var openAPI []byte

// OpenAPI returns the OpenAPI 3.1 document as JSON. The bytes are the caller's.
func OpenAPI() []byte { return bytes.Clone(openAPI) }
