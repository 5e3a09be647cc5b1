// Package httpclient is the HTTP client that the Azure SDKs for Cosmos DB and
// Storage send with. It differs from their own in one thing: it recovers at once
// when the connections in its pool are dead.
package httpclient

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// Client sends one HTTP request at a time over pooled connections. It is a
// [policy.Transporter].
//
// Connections die together: a firewall forgets them, a host is frozen and thawed,
// a service moves. A pool hands out the dead ones one after the other, so that
// each retry meets the next. When a request fails on a connection that was used
// before, Client therefore closes all idle connections: the retry, which is the
// SDK's, dials anew.
//
// [policy.Transporter]: https://pkg.go.dev/github.com/Azure/azure-sdk-for-go/sdk/azcore/policy#Transporter
type Client struct{ http http.Client }

// The bounds of the pool and of what a connection waits for. The numbers are
// azcosmos' own, but that its client has no bound for 100 idle connections to
// all hosts together.
const (
	connectTime  = 5 * time.Second
	keepAlive    = 30 * time.Second
	idleTime     = 90 * time.Second // load balancers forget a connection after four minutes
	maxIdle      = 100
	pingAfter    = 2 * time.Second // HTTP/2: how long a connection may be silent
	pingPatience = time.Second
)

// New returns a client with a pool of its own.
func New() *Client {
	return &Client{http: http.Client{Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: connectTime, KeepAlive: keepAlive}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          maxIdle,
		MaxIdleConnsPerHost:   maxIdle,
		IdleConnTimeout:       idleTime,
		TLSHandshakeTimeout:   2 * connectTime,
		ExpectContinueTimeout: time.Second,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingPatience},
	}}}
}

// Do sends the request. The error is net/http's, unchanged.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	var reused atomic.Bool
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { reused.Store(info.Reused) },
	})
	res, err := c.http.Do(req.WithContext(ctx))
	if err != nil && reused.Load() && !errors.Is(err, context.Canceled) { // which is the caller's doing
		c.http.CloseIdleConnections()
	}
	return res, err
}
