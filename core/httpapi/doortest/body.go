package doortest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
)

var bodyCases = []Case{
	{"a body of any type arrives unchanged", bodyArrives},
	{"an empty body arrives empty", emptyBodyArrives},
	{"a body without a length arrives", chunkedBodyArrives},
	{"a body at the limit arrives", largeBodyArrives},
}

// binary returns n bytes that have all values and are not valid UTF-8.
func binary(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i + i>>8)
	}
	return b
}

// bodies holds bodies, by media type, that a faulty layer would change: one that
// treats every body as text, or that normalises or decodes bodies.
var bodies = map[string][]byte{
	"application/json":         []byte(" {\"n\":1.10,\"s\":\"é 日本 😀 \u2028 <&>\",\"e\":\"\\u00e9\"}\r\n"),
	"application/octet-stream": binary(1000),
	"text/plain":               []byte("\ufeffbom\r\nline\n\x00nul"),
	"application/problem+json": []byte(`{"a":"e30="}`),
	"application/x-unknown":    []byte("eyJhIjoxfQ=="), // looks like base64
}

func bodyArrives(ctx context.Context, open Open) error {
	for kind, body := range bodies {
		s, err := arrives(ctx, open, Request{Method: "POST", Target: "/v1/tasks", Header: http.Header{"Content-Type": {kind}}, Body: body})
		if err != nil {
			return err
		}
		if s.bodyErr != nil || !bytes.Equal(s.body, body) {
			return fmt.Errorf("the %s body %q arrived as %q, %v", kind, body, s.body, s.bodyErr)
		}
	}
	return nil
}

func emptyBodyArrives(ctx context.Context, open Open) error {
	for method, body := range map[string][]byte{"GET": nil, "POST": {}, "DELETE": nil} {
		s, err := arrives(ctx, open, Request{Method: method, Target: "/v1/tasks", Body: body})
		if err != nil {
			return err
		}
		if s.bodyErr != nil || len(s.body) != 0 {
			return fmt.Errorf("%s without a body arrived with the body %q, %v", method, s.body, s.bodyErr)
		}
	}
	return nil
}

func chunkedBodyArrives(ctx context.Context, open Open) error {
	if open(http.NotFoundHandler()).LosesChunked {
		return inapplicable("the platform loses bodies without a Content-Length")
	}
	body := binary(70_000)
	s, err := arrives(ctx, open, Request{Method: "POST", Target: "/v1/tasks", Body: body, Chunked: true})
	if err != nil {
		return err
	}
	if s.bodyErr != nil || !bytes.Equal(s.body, body) {
		return fmt.Errorf("a body of %d bytes without a Content-Length arrived changed, with %d bytes, %v", len(body), len(s.body), s.bodyErr)
	}
	return nil
}

func (d Door) limit() int {
	if d.Limit == 0 {
		return 4 << 20
	}
	return d.Limit
}

func largeBodyArrives(ctx context.Context, open Open) error {
	body := binary(open(http.NotFoundHandler()).limit())
	s, err := arrives(ctx, open, Request{Method: "POST", Target: "/v1/tasks", Body: body})
	if err != nil {
		return err
	}
	if s.bodyErr != nil || !bytes.Equal(s.body, body) {
		return fmt.Errorf("a body of %d bytes arrived changed, with %d bytes, %v", len(body), len(s.body), s.bodyErr)
	}
	return nil
}
