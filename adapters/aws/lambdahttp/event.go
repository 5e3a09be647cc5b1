package lambdahttp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/core/httpapi"
)

// event is the part of an event that is read. HTTP APIs and function URLs share
// payload format 2.0. The client may have made up the headers; the context is the
// platform's word. The two are never mixed.
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

// apiRoots are the beginnings of all paths of the API.
var apiRoots = [...]string{"/v1", "/healthz", "/readyz", "/openapi.json", "/ui"}

// route returns the API's path within the event's, and the prefix in front of it:
// that of a stage, that of a custom domain's mapping (basePath, "" = none), both or
// neither. An event does not say which are in its path, and a stage or a mapping may
// be named v1 too. So the prefix is the longest after which a path of the API
// remains. Where none does, the answer is 404 whatever is taken off.
func (e *event) route(basePath string) (prefix, path string) {
	stage := "/" + e.Context.Stage
	if stage == "/$default" || stage == "/" {
		stage = ""
	}
	for _, prefix := range [...]string{stage + basePath, basePath + stage, stage, basePath, ""} {
		rest, ok := strings.CutPrefix(e.Path, prefix)
		if ok && slices.ContainsFunc(apiRoots[:], func(root string) bool { return hasPathPrefix(rest, root) }) {
			return prefix, rest
		}
	}
	if !hasPathPrefix(e.Path, stage) {
		return "", e.Path
	}
	return stage, cmp.Or(strings.TrimPrefix(e.Path, stage), "/")
}

func hasPathPrefix(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// gateway returns what the platform says about a request to a path behind prefix.
func (e *event) gateway(prefix string) httpapi.Gateway {
	return httpapi.Gateway{
		BaseURL:   "https://" + e.Context.DomainName + prefix,
		Caller:    e.Context.Authorizer.caller(),
		RequestID: e.Context.RequestID,
	}
}

// request returns the event as a request for path. Its error is for the client.
func (e *event) request(ctx context.Context, path string) (*http.Request, error) {
	body := []byte(e.Body)
	if e.IsBase64 {
		var err error
		if body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, errors.New("the body is not base64, as the event says")
		}
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

// requestURL keeps the escapes of the path. A path without valid escapes is taken
// literally, because HTTP APIs have been seen to decode paths.
func requestURL(raw, query string) *url.URL {
	u := &url.URL{Path: raw, RawQuery: query}
	if path, err := url.PathUnescape(raw); err == nil {
		u.Path, u.RawPath = path, raw
	}
	return u
}

// header returns the headers. The platform joins repeated headers with commas;
// values may have commas of their own, so nothing is split. Cookies come
// separately.
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
