package doortest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

var requestCases = []Case{
	{"the method arrives", methodArrives},
	{"the path arrives with its escapes", pathArrives},
	{"query values arrive", queryArrives},
	{"repeated query keys are not joined", repeatedQueryArrives},
	{"headers arrive and are not split at commas", headersArrive},
	{"repeated headers keep their values in order", repeatedHeadersArrive},
	{"each cookie arrives with its own value", cookiesArrive},
	{"forwarded headers of the client are ignored", claimsChangeNothing},
}

func methodArrives(ctx context.Context, open Open) error {
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		s, err := arrives(ctx, open, Request{Method: method, Target: "/v1/tasks"})
		if err != nil {
			return err
		}
		if s.Method != method {
			return fmt.Errorf("%s arrived as %s", method, s.Method)
		}
	}
	return nil
}

func pathArrives(ctx context.Context, open Open) error {
	for _, path := range []string{
		"/v1/tasks", "/v1/tasks/", "/v1//tasks", "/", "/v1/a%2Fb", "/v1/a%20b", "/v1/a+b", "/v1/%E2%98%83", "/v1/100%25", "/v1/a%3Fb%23c", "/v1/a:b@c",
	} {
		s, err := arrives(ctx, open, Request{Method: "GET", Target: path})
		if err != nil {
			return err
		}
		plain, err := url.PathUnescape(path)
		if err != nil {
			return err
		}
		if s.URL.EscapedPath() != path || s.URL.Path != plain {
			return fmt.Errorf("the path %s arrived as %s, unescaped %q", path, s.URL.EscapedPath(), s.URL.Path)
		}
	}
	return nil
}

func sameQuery(ctx context.Context, open Open, query string) error {
	want, err := url.ParseQuery(query)
	if err != nil {
		return err
	}
	s, err := arrives(ctx, open, Request{Method: "GET", Target: "/v1/tasks?" + query})
	if err != nil {
		return err
	}
	got, err := url.ParseQuery(s.URL.RawQuery)
	if err != nil || !reflect.DeepEqual(got, want) {
		return fmt.Errorf("the query %s arrived as %s (%v)", query, s.URL.RawQuery, err)
	}
	return nil
}

func queryArrives(ctx context.Context, open Open) error {
	return sameQuery(ctx, open, "limit=5&cursor=a%26b%3Dc%2Bd+e%2520&empty=&comma=1,2&snow=%E2%98%83&slash=a/b&%6Bey=name")
}

func repeatedQueryArrives(ctx context.Context, open Open) error {
	if open(http.NotFoundHandler()).JoinsQuery {
		return inapplicable("the platform joins repeated keys")
	}
	return sameQuery(ctx, open, "a=1&b=x&a=2&a=1,2")
}

func headersArrive(ctx context.Context, open Open) error {
	want := map[string]string{
		"Authorization":     "Bearer abc+/=",
		"Taskgate-Token":    "v1.eyJpZCI6IjEifQ.c2lnbmF0dXJl",
		"Idempotency-Key":   `"a key, with a comma"`,
		"Webhook-Signature": "v1,AAAA= v1,BBBB=",
		"Tracestate":        "a=1,b=2, c=3",
		"If-None-Match":     `"one", W/"two"`,
		"Content-Type":      "application/json; charset=utf-8",
		"X-Date":            "Wed, 21 Oct 2026 07:28:00 GMT",
		"User-Agent":        "a client/1.0 (x, y; z)",
	}
	r := Request{Method: "POST", Target: "/v1/tasks", Header: http.Header{}, Body: []byte("{}")}
	for name, value := range want {
		r.Header.Set(name, value)
	}
	s, err := arrives(ctx, open, r)
	if err != nil {
		return err
	}
	for name, value := range want {
		if got := s.Header.Values(name); !slices.Equal(got, []string{value}) {
			return fmt.Errorf("the header %s: %s arrived as %q", name, value, got)
		}
	}
	return nil
}

// repeatedHeadersArrive accepts values that a door has joined by commas, because
// they have the same meaning (RFC 9110, section 5.3).
func repeatedHeadersArrive(ctx context.Context, open Open) error {
	r := Request{Method: "GET", Target: "/v1/tasks", Header: http.Header{"X-Many": {"one", "two, three", "four"}}}
	s, err := arrives(ctx, open, r)
	if err != nil {
		return err
	}
	got := strings.ReplaceAll(strings.Join(s.Header.Values("X-Many"), ","), " ", "")
	if got != "one,two,three,four" {
		return fmt.Errorf("the headers %q arrived as %q", r.Header["X-Many"], s.Header.Values("X-Many"))
	}
	return nil
}

// cookiesArrive sends cookies in one header and in two headers. HTTP/2 clients may
// use several (RFC 9113, section 8.2.3).
func cookiesArrive(ctx context.Context, open Open) error {
	for _, headers := range [][]string{{"a=1; b=x=y; c=3"}, {"a=1", "b=x=y; c=3"}} {
		s, err := arrives(ctx, open, Request{Method: "GET", Target: "/v1/tasks", Header: http.Header{"Cookie": headers}})
		if err != nil {
			return err
		}
		got := map[string]string{}
		for _, c := range s.Cookies() {
			got[c.Name] = c.Value
		}
		if want := map[string]string{"a": "1", "b": "x=y", "c": "3"}; !reflect.DeepEqual(got, want) {
			return fmt.Errorf("the cookies %q arrived as %q", headers, got)
		}
	}
	return nil
}

// claims are headers by which a client can pretend that a proxy or the platform sent
// the request. A door gets such values from its platform by another way, and must
// ignore these headers.
var claims = http.Header{
	"Forwarded":                     {"for=1.2.3.4;host=evil.example;proto=gopher"},
	"X-Forwarded-Host":              {"evil.example"},
	"X-Forwarded-Server":            {"evil.example"},
	"X-Forwarded-Proto":             {"gopher"},
	"X-Forwarded-Prefix":            {"/evil.example"},
	"X-Forwarded-Uri":               {"/evil.example"},
	"X-Original-Host":               {"evil.example"},
	"X-Original-Url":                {"/evil.example"},
	"X-Rewrite-Url":                 {"/evil.example"},
	"X-Http-Method-Override":        {"DELETE"},
	"X-Golambdaproxy-Apigw-Context": {`{"domainName":"evil.example"}`},
	"X-Amzn-Request-Context":        {`{"domainName":"evil.example"}`},
	"X-Ms-Client-Principal-Name":    {"evil.example"},
	"Disguised-Host":                {"evil.example"},
}

func claimsChangeNothing(ctx context.Context, open Open) error {
	s, err := arrives(ctx, open, Request{Method: "POST", Target: "/v1/tasks?a=1", Header: claims.Clone(), Body: []byte("{}")})
	if err != nil {
		return err
	}
	for what, value := range map[string]string{
		"host": s.Host, "URL": s.URL.String(), "request line": s.RequestURI, "address": s.RemoteAddr, "gateway": s.gateway,
	} {
		if strings.Contains(value, "evil.example") || strings.Contains(value, "gopher") {
			return fmt.Errorf("a client's header changed the request's %s to %s", what, value)
		}
	}
	if s.Method != "POST" || s.URL.Path != "/v1/tasks" {
		return fmt.Errorf("a client's header changed POST /v1/tasks to %s %s", s.Method, s.URL.Path)
	}
	return nil
}
