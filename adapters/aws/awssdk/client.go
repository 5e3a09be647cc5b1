package awssdk

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// The bounds of one attempt: to connect, and then to be answered.
const (
	connectTime = 2 * time.Second
	attemptTime = 3 * time.Second
)

// Client is the HTTP client of all AWS services. It differs from the SDK's own in
// three ways:
//   - One attempt is bounded.
//   - A request's body goes to net/http as bytes. The SDK's reader is closed as
//     soon as the answer begins, and then fails a net/http that has not seen its
//     end: the connection is cut and a large answer lost (smithy-go 1.28.9,
//     transport/http/internal/io/safe.go, WriteTo).
//   - A failure on a pooled connection drops the idle ones. While its function is
//     frozen, all connections of a process die together; without this, each retry
//     would take the next dead one.
type Client struct{ *http.Client }

// NewClient returns a Client with connections of its own.
func NewClient() Client {
	t := awshttp.NewBuildableClient().WithDialerOptions(func(d *net.Dialer) { d.Timeout = connectTime }).GetTransport()
	t.TLSHandshakeTimeout = connectTime
	t.ResponseHeaderTimeout = attemptTime
	t.MaxIdleConnsPerHost = 100 // a batch makes 32 calls at once
	return Client{&http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

var _ aws.HTTPClient = Client{}

// Do implements [aws.HTTPClient].
func (c Client) Do(req *http.Request) (*http.Response, error) {
	if req.Body != nil && req.ContentLength > 0 {
		body := make([]byte, req.ContentLength)
		if _, err := io.ReadFull(req.Body, body); err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	pooled := false
	trace := &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { pooled = c.Reused }}
	resp, err := c.Client.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil && pooled && req.Context().Err() == nil {
		c.CloseIdleConnections()
	}
	return resp, err
}
