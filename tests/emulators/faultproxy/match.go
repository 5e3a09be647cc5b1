package faultproxy

import (
	"net/http"
	"net/url"
	"strings"
)

// Request is a request as it arrived.
type Request struct {
	Method    string
	Path      string // without the query
	Query     url.Values
	Header    http.Header
	Body      []byte
	Operation string // AWS' name for it, "SendMessage"; empty where the request does not carry one
}

func newRequest(r *http.Request, body []byte) *Request {
	req := &Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: r.Header, Body: body}
	if target := r.Header.Get("X-Amz-Target"); target != "" { // AWS JSON: SQS, DynamoDB
		req.Operation = target[strings.LastIndexByte(target, '.')+1:]
	} else if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") { // AWS query: SNS
		form, _ := url.ParseQuery(string(body))
		req.Operation = form.Get("Action")
	}
	return req
}

// Match picks requests.
type Match func(*Request) bool

// Any matches every request.
func Any(*Request) bool { return true }

// Operation matches AWS operations of the JSON and query protocols by name: SQS, SNS, DynamoDB.
func Operation(name string) Match {
	return func(r *Request) bool { return r.Operation == name }
}

// Route matches by method and by a part of the path, for REST interfaces: Scheduler, Lambda, Storage
// queues, Cosmos DB. An empty method matches all methods.
func Route(method, part string) Match {
	return func(r *Request) bool {
		return (method == "" || r.Method == method) && strings.Contains(r.Path, part)
	}
}
