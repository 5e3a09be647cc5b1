// Package apitest holds every request and every response of a test to
// openapi.yaml. Only tests link it.
package apitest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"
)

// Transport is an http.RoundTripper that fails a round trip which the contract
// does not describe: a request that breaks it, unless it is marked by [Bad], or
// a response of an undocumented status, media type, header or body. It may be
// used concurrently.
//
// HEAD is held to what GET would answer, without the body. Authentication is
// not checked, because it is the deployment's.
type Transport struct {
	Base http.RoundTripper // nil = http.DefaultTransport
}

type badKey struct{}

// Bad marks the requests that are made with the context as deliberately breaking
// the contract. Their responses are held to it all the same: where there is no
// such route, the problem unknown-route or method-not-allowed.
func Bad(ctx context.Context) context.Context { return context.WithValue(ctx, badKey{}, true) }

// RoundTrip implements http.RoundTripper. Its errors quote the rule that is
// broken and, of a response, the body.
func (t Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	c, err := loaded()
	if err != nil {
		return nil, err
	}
	if req.Context().Value(badKey{}) == nil {
		if req, err = buffered(req); err != nil {
			return nil, err
		}
		if err := c.checkRequest(req); err != nil {
			return nil, fmt.Errorf("the request %s %s breaks the contract: %w", req.Method, req.URL, err)
		}
	}
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	resp, err := base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("read the response to %s %s: %w", req.Method, req.URL, err)
	}
	if err := c.checkResponse(req, resp, body); err != nil {
		return nil, fmt.Errorf("the response %d to %s %s breaks the contract: %w\n%s",
			resp.StatusCode, req.Method, req.URL, err, body)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// buffered returns the request with its body in memory, so that it can be read
// for the check and then be sent.
func buffered(req *http.Request) (*http.Request, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, nil
	}
	body, err := io.ReadAll(req.Body)
	req.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("read the request's body: %w", err)
	}
	req = req.Clone(req.Context())
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	req.Body, _ = req.GetBody()
	return req, nil
}

// Check reports how a JSON text differs from the contract's component schema of
// the name: "Message" is what a worker receives.
func Check(schema string, text []byte) error {
	c, err := loaded()
	if err != nil {
		return err
	}
	if err := wellFormed(text); err != nil {
		return err
	}
	return c.checkSchema(schema, text)
}

// wellFormed finds what the validator's decoder lets pass: duplicate names and
// invalid UTF-8.
func wellFormed(text []byte) error {
	if !jsontext.Value(text).IsValid() {
		return errors.New("not one JSON text of valid UTF-8 without duplicate names")
	}
	return nil
}
