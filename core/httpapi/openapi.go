package httpapi

import (
	"bytes"
	_ "embed"
)

//go:generate go test -run TestOpenAPIJSONIsMadeFromTheYAML . -update

// openapi.yaml is the contract's only source. The JSON is generated from it, so
// that no binary links a YAML parser; a test fails while the two differ.
//
//go:embed openapi.json
var openAPI []byte

// OpenAPI returns the OpenAPI 3.1 document as JSON. The caller may change the bytes.
func OpenAPI() []byte { return bytes.Clone(openAPI) }
