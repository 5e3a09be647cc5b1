package httpapi

import (
	"bytes"
	_ "embed"
)

//go:generate go test -run TestOpenAPIJSONIsMadeFromTheYAML . -update

// openapi.json is generated from openapi.yaml, so that no binary needs a YAML parser.
// Edit only openapi.yaml; a test fails while the two files differ.
//
//go:embed openapi.json
var openAPI []byte

// OpenAPI returns the OpenAPI 3.1 document as JSON. The caller may modify the bytes.
func OpenAPI() []byte { return bytes.Clone(openAPI) }
