package apitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	failure "github.com/pb33f/libopenapi-validator/errors"
	"github.com/pb33f/libopenapi-validator/helpers"
	"github.com/pb33f/libopenapi-validator/router"
	"github.com/pb33f/libopenapi-validator/schema_validation"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"

	"github.com/taskgate/taskgate/core/httpapi"
)

// Paths that are added to the document for the check alone, since OpenAPI has no
// words for requests that match no path or no method of one.
const (
	noRoute  = "/-/unknown-route"
	noMethod = "/-/method-not-allowed"
)

// contract is the document, ready to check against.
type contract struct {
	model     *v3.Document
	router    router.Router
	validator validator.Validator
	schemas   schema_validation.SchemaValidator
}

// loaded builds the contract once in a process: it takes a moment.
var loaded = sync.OnceValues(func() (*contract, error) { return load(httpapi.OpenAPI()) })

func load(spec []byte) (*contract, error) {
	spec, err := withUnmatched(spec)
	if err != nil {
		return nil, fmt.Errorf("openapi.json: %w", err)
	}
	document, err := libopenapi.NewDocument(spec)
	if err != nil {
		return nil, fmt.Errorf("openapi.json: %w", err)
	}
	model, err := document.BuildV3Model()
	if err != nil {
		return nil, fmt.Errorf("openapi.json: %w", err)
	}
	v, errs := validator.NewValidator(document,
		config.WithFormatAssertions(),
		config.WithRejectUndeclaredRequestBody(),
		config.WithoutSecurityValidation())
	if len(errs) > 0 {
		return nil, fmt.Errorf("openapi.json: %w", errors.Join(errs...))
	}
	if ok, failures := v.ValidateDocument(); !ok {
		return nil, fmt.Errorf("openapi.json is not OpenAPI 3.1: %w", explain(failures))
	}
	return &contract{
		model:     &model.Model,
		router:    router.NewRouter(&model.Model, router.WithPathOnlyMatching()),
		validator: v,
		schemas:   schema_validation.NewSchemaValidator(config.WithFormatAssertions()),
	}, nil
}

// withUnmatched adds the paths noRoute and noMethod.
func withUnmatched(spec []byte) ([]byte, error) {
	var document map[string]any
	if err := json.Unmarshal(spec, &document); err != nil {
		return nil, err
	}
	all, ok := document["paths"].(map[string]any)
	if !ok {
		return nil, errors.New("it has no paths")
	}
	answered := func(status, response string) any {
		ref := map[string]any{"$ref": "#/components/responses/" + response}
		return map[string]any{"get": map[string]any{"responses": map[string]any{status: ref}}}
	}
	all[noRoute] = answered("404", "UnknownRoute")
	all[noMethod] = answered("405", "MethodNotAllowed")
	return json.Marshal(document)
}

func (c *contract) checkRequest(req *http.Request) error {
	probe := req.Clone(req.Context())
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return err
		}
		text, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		if err := wellFormed(text); err != nil {
			return err
		}
		probe.Body = io.NopCloser(bytes.NewReader(text))
	}
	if ok, failures := c.validator.ValidateHttpRequestSync(probe); !ok {
		return explain(failures)
	}
	return c.checkQueryNames(req)
}

// find returns what the contract has for a request. The validator's router also
// matches a path with a slash at its end; the service does not.
func (c *contract) find(req *http.Request) (*router.Route, error) {
	if strings.HasSuffix(req.URL.Path, "/") {
		return nil, router.ErrPathNotFound
	}
	return c.router.FindRoute(req)
}

// checkQueryNames finds query parameters that the operation does not have; the
// validator looks only at those that it has.
func (c *contract) checkQueryNames(req *http.Request) error {
	route, err := c.find(req)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, p := range helpers.ExtractParamsForOperation(req, route.PathItem) {
		known[p.Name] = p.In == "query" || known[p.Name]
	}
	for name := range req.URL.Query() {
		if !known[name] {
			return fmt.Errorf("there is no query parameter %q", name)
		}
	}
	return nil
}

func (c *contract) checkResponse(req *http.Request, resp *http.Response, body []byte) error {
	probe := &http.Request{Method: req.Method, URL: req.URL, Header: req.Header}
	if _, err := c.find(probe); errors.Is(err, router.ErrMethodNotAllowed) {
		probe = &http.Request{Method: http.MethodGet, URL: &url.URL{Path: noMethod}}
	} else if err != nil {
		probe = &http.Request{Method: http.MethodGet, URL: &url.URL{Path: noRoute}}
	}
	answer := *resp
	answer.Body = io.NopCloser(bytes.NewReader(body))
	if req.Method == http.MethodHead {
		answer.Body = http.NoBody
	} else if isJSON(resp.Header) {
		if err := wellFormed(body); err != nil {
			return err
		}
	}
	if ok, failures := c.validator.ValidateHttpResponse(probe, &answer); !ok {
		return explain(failures)
	}
	return nil
}

func isJSON(h http.Header) bool {
	mediaType, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
}

func (c *contract) checkSchema(name string, text []byte) error {
	proxy := c.model.Components.Schemas.GetOrZero(name)
	if proxy == nil {
		return fmt.Errorf("openapi.yaml has no schema %q", name)
	}
	schema, err := proxy.BuildSchema()
	if err != nil {
		return fmt.Errorf("schema %s: %w", name, err)
	}
	if ok, failures := c.schemas.ValidateSchemaBytesWithVersion(schema, text, 3.1); !ok {
		return explain(failures)
	}
	return nil
}

// explain renders what the validator found as one error, each rule with its
// place in the document.
func explain(failures []*failure.ValidationError) error {
	var errs []error
	for _, f := range failures {
		if len(f.SchemaValidationErrors) == 0 {
			errs = append(errs, errors.New(f.Message+": "+f.Reason))
		}
		for _, s := range f.SchemaValidationErrors {
			errs = append(errs, fmt.Errorf("%s: /%s: %s", f.Message, strings.Join(s.InstancePath, "/"), s.Reason))
		}
	}
	if len(errs) == 0 {
		return errors.New("the validator gives no reason")
	}
	return errors.Join(errs...)
}
