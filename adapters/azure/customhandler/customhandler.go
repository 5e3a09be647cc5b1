// Package customhandler is the front door on Azure Functions: the HTTP server
// that the Functions host talks to, on loopback, in either of its two ways of
// passing HTTP requests on.
//
// Forwarding (enableForwardingHttpRequest) copies a request and buffers its
// answer. It loses a body without a Content-Length, joins repeated query keys
// by commas, and drops all content headers but the body's type and length.
// Proxying (enableProxyingHttpRequest) streams, and loses nothing. The handler
// is the same for both.
//
// https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers
package customhandler

import (
	"context"
	"net/http"
	"time"

	"github.com/taskgate/taskgate/core/httpapi"
)

// requestTime is how long a client can wait for its answer, whatever the
// function's own time-out: the load balancer in front gives up then.
// https://learn.microsoft.com/azure/azure-functions/functions-scale#timeout
const requestTime = 230 * time.Second

// Door passes requests from the host to a handler as their clients sent them. By
// [httpapi.WithGateway] it adds what the platform knows of them.
type Door struct {
	Handler http.Handler
	BaseURL string                     // of the app as clients reach it, no trailing slash
	Caller  func(*http.Request) string // whom the platform has authenticated: [EasyAuth], [FunctionKey]; nil = nobody
}

// BaseURL is the app's address by WEBSITE_HOSTNAME, which the platform sets, or
// "" where that is empty. It is https, whatever the client has used.
// https://learn.microsoft.com/azure/app-service/reference-app-settings#app-environment
func BaseURL(websiteHostname string) string {
	if websiteHostname == "" {
		return ""
	}
	return "https://" + websiteHostname
}

// ServeHTTP serves one of the host's requests. The host's own pings, by which it
// sees that this process lives, have no invocation and are answered here.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := invocation(r.Header)
	if id == "" && r.URL.Path == "/" && r.Method == http.MethodGet {
		w.WriteHeader(http.StatusOK)
		return
	}
	gateway := httpapi.Gateway{BaseURL: d.BaseURL, RequestID: id}
	if d.Caller != nil {
		gateway.Caller = d.Caller(r)
		gateway.Cookie = r.Header.Get("X-Ms-Client-Principal-Id") != "" // Easy Auth also takes a session cookie
	}
	ctx, cancel := context.WithTimeout(httpapi.WithGateway(r.Context(), gateway), requestTime)
	defer cancel()
	r = r.Clone(ctx)
	restore(r)
	d.Handler.ServeHTTP(w, r)
}
