package lambdahttp

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/core/httpapi"
)

// event is what is read of an event of payload format 2.0, which HTTP APIs and
// function URLs share. What of it the client may have made up (the headers) and
// what the platform says (the context) are apart, and stay so.
type event struct {
	Version  string            `json:"version"`
	Path     string            `json:"rawPath"`
	Query    string            `json:"rawQueryString"`
	Cookies  []string          `json:"cookies"`
	Headers  map[string]string `json:"headers"`
	Body     string            `json:"body"`
	IsBase64 bool              `json:"isBase64Encoded"`
	Context  struct {
		DomainName string     `json:"domainName"`
		Stage      string     `json:"stage"`
		RequestID  string     `json:"requestId"`
		Authorizer authorizer `json:"authorizer"`
		HTTP       struct {
			Method   string `json:"method"`
			SourceIP string `json:"sourceIp"`
		} `json:"http"`
	} `json:"requestContext"`
}

// parseEvent reads an event, and refuses what is not one.
func parseEvent(payload []byte) (*event, error) {
	var e event
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, err
	}
	switch {
	case e.Version != "2.0":
		return nil, fmt.Errorf("version is %q, not 2.0", e.Version)
	case e.Context.HTTP.Method == "" || e.Context.DomainName == "" || !strings.HasPrefix(e.Path, "/"):
		return nil, errors.New("no requestContext.http.method, requestContext.domainName or rawPath")
	}
	return &e, nil
}

// stagePrefix is the part of the path that names the stage, "" for $default. A
// custom domain's mapping may have left it out already.
func (e *event) stagePrefix() string {
	prefix := "/" + e.Context.Stage
	if e.Context.Stage == "" || e.Context.Stage == "$default" || !hasPathPrefix(e.Path, prefix) {
		return ""
	}
	return prefix
}

func hasPathPrefix(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// gateway is what the platform says of the request. How a custom domain maps
// its paths is not in an event: there, TASKGATE_PUBLIC_URL says it.
func (e *event) gateway() httpapi.Gateway {
	return httpapi.Gateway{
		BaseURL:   "https://" + e.Context.DomainName + e.stagePrefix(),
		Caller:    e.Context.Authorizer.caller(),
		RequestID: e.Context.RequestID,
	}
}

// request returns the event as a request. Its error is for the client.
func (e *event) request(ctx context.Context, basePath string) (*http.Request, error) {
	body := []byte(e.Body)
	if e.IsBase64 {
		var err error
		if body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, errors.New("the body is not base64, as the event says")
		}
	}
	path := strings.TrimPrefix(e.Path, e.stagePrefix())
	if basePath != "" && hasPathPrefix(path, basePath) {
		path = strings.TrimPrefix(path, basePath)
	}
	if path == "" {
		path = "/"
	}
	target := requestURL(path, e.Query)
	target.Scheme, target.Host = "https", e.Context.DomainName
	r := &http.Request{
		Method: e.Context.HTTP.Method, URL: target, RequestURI: target.RequestURI(),
		Host: e.Context.DomainName, RemoteAddr: e.Context.HTTP.SourceIP,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: e.header(), Body: http.NoBody, ContentLength: int64(len(body)),
	}
	if len(body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return r.WithContext(ctx), nil
}

// requestURL keeps the path as it was escaped. A path that is not escaped (HTTP
// APIs have been seen to decode it) stands for itself.
func requestURL(raw, query string) *url.URL {
	u := &url.URL{Path: raw, RawQuery: query}
	if path, err := url.PathUnescape(raw); err == nil {
		u.Path, u.RawPath = path, raw
	}
	return u
}

// header returns the headers. The platform has joined those that were repeated
// by commas; values that have commas of their own look the same, so nothing is
// split. Cookies come apart from the headers.
func (e *event) header() http.Header {
	h := make(http.Header, len(e.Headers)+1)
	for name, value := range e.Headers {
		h.Set(name, value)
	}
	h.Del("Host") // as net/http does: it is in Request.Host, here from the platform
	if len(e.Cookies) > 0 {
		h.Set("Cookie", strings.Join(e.Cookies, "; "))
	}
	return h
}
