package httpapi_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/pb33f/go-yaml"

	"github.com/taskgate/taskgate/core/httpapi"
)

var update = flag.Bool("update", false, "rewrite openapi.json")

func TestOpenAPIJSONIsMadeFromTheYAML(t *testing.T) {
	source, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document any
	if err := yaml.Unmarshal(source, &document); err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	if err := e.Encode(document); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("openapi.json", want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(httpapi.OpenAPI(), want.Bytes()) {
		t.Error("openapi.json is not what openapi.yaml says: run go generate .")
	}
}

func TestOpenAPIReturnsACopy(t *testing.T) {
	clear(httpapi.OpenAPI())
	if !json.Valid(httpapi.OpenAPI()) {
		t.Error("a caller changed the document")
	}
}
