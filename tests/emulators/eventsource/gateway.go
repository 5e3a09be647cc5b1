// Package eventsource makes the events that AWS hands to Lambda functions: an
// HTTP API in front of one, and a poller of an SQS queue. What they invoke is a
// function, usually a lambdahost.Host's Invoke.
package eventsource

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// Invoke calls a function and waits for its response.
type Invoke func(ctx context.Context, payload []byte) ([]byte, error)

// maxPayload is the most that Lambda takes and gives back, synchronously.
// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const maxPayload = 6 << 20

// Gateway is an HTTP API (payload format 2.0), or a function URL, as an
// http.RoundTripper: a request to any URL reaches the function.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
type Gateway struct {
	Invoke      Invoke
	DomainName  string         // default id.execute-api.us-east-1.amazonaws.com
	Stage       string         // default $default; another is in front of the path
	Authorizer  map[string]any // requestContext.authorizer; nil = the route has none
	FunctionURL bool           // cookies are in the headers too, and there is no route
}

// DefaultDomain is the domain of a Gateway that has no other.
const DefaultDomain = "id.execute-api.us-east-1.amazonaws.com"

// Event is the event that the gateway makes of a request, whose body it reads.
func (g *Gateway) Event(r *http.Request) ([]byte, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	domain, stage, path := g.DomainName, g.Stage, r.URL.EscapedPath()
	if domain == "" {
		domain = DefaultDomain
	}
	if stage == "" {
		stage = "$default"
	}
	if stage != "$default" {
		path = "/" + stage + path
	}
	headers := map[string]string{"host": r.Host, "x-forwarded-for": "192.0.2.1", "x-forwarded-port": "443", "x-forwarded-proto": "https"}
	for name, values := range r.Header {
		if name = strings.ToLower(name); name != "cookie" || g.FunctionURL {
			headers[name] = strings.Join(values, ",")
		}
	}
	context := map[string]any{
		"accountId": "000000000000", "apiId": "id", "domainName": domain, "domainPrefix": strings.Split(domain, ".")[0],
		"http":      map[string]any{"method": r.Method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": r.UserAgent()},
		"requestId": "JKJaXmPLvHcESHA=", "routeKey": "$default", "stage": stage, "time": "12/Mar/2026:19:03:58 +0000", "timeEpoch": 1773342238000,
	}
	if g.Authorizer != nil {
		context["authorizer"] = g.Authorizer
	}
	event := map[string]any{
		"version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": r.URL.RawQuery,
		"headers": headers, "requestContext": context, "isBase64Encoded": false,
	}
	if cookies := strings.Join(r.Header.Values("Cookie"), "; "); cookies != "" {
		event["cookies"] = strings.Split(cookies, "; ")
	}
	switch {
	case len(body) == 0:
	case isText(r.Header.Get("Content-Type")) && utf8.Valid(body):
		event["body"] = string(body)
	default:
		event["body"], event["isBase64Encoded"] = base64.StdEncoding.EncodeToString(body), true
	}
	return encode(event)
}

// isText says which bodies go as they are.
func isText(contentType string) bool {
	media, _, _ := mime.ParseMediaType(contentType)
	return strings.HasPrefix(media, "text/") || slices.Contains([]string{"application/json", "application/javascript", "application/xml"}, media)
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// RoundTrip sends the request through the function. Its errors are those of
// reading the request and of its context; whatever the function does is a
// response, as it is to clients.
func (g *Gateway) RoundTrip(r *http.Request) (*http.Response, error) {
	event, err := g.Event(r)
	if r.Body != nil {
		_ = r.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	if len(event) > maxPayload {
		return message(r, http.StatusRequestEntityTooLarge, "Request Too Long"), nil
	}
	payload, err := g.Invoke(r.Context(), event)
	if r.Context().Err() != nil {
		return nil, r.Context().Err()
	}
	var answer struct {
		StatusCode      int
		Headers         map[string]string
		Cookies         []string
		Body            string
		IsBase64Encoded bool
	}
	if err != nil || len(payload) > maxPayload || json.Unmarshal(payload, &answer) != nil || answer.StatusCode < 200 {
		return message(r, http.StatusInternalServerError, "Internal Server Error"), nil
	}
	body := []byte(answer.Body)
	if answer.IsBase64Encoded {
		if body, err = base64.StdEncoding.DecodeString(answer.Body); err != nil {
			return message(r, http.StatusInternalServerError, "Internal Server Error"), nil
		}
	}
	header := http.Header{"Apigw-Requestid": {"JKJaXmPLvHcESHA="}}
	for name, value := range answer.Headers {
		header.Set(name, value)
	}
	if len(answer.Cookies) > 0 {
		header["Set-Cookie"] = answer.Cookies
	}
	return response(r, answer.StatusCode, header, body), nil
}

// message is what the gateway answers by itself.
func message(r *http.Request, status int, text string) *http.Response {
	return response(r, status, http.Header{"Content-Type": {"application/json"}}, fmt.Appendf(nil, `{"message":%q}`, text))
}

func response(r *http.Request, status int, header http.Header, body []byte) *http.Response {
	return &http.Response{
		Status: fmt.Sprint(status, " ", http.StatusText(status)), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}
}
