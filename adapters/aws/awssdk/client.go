package awssdk

import (
	"bytes"
	"io"
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// Client is the SDK's HTTP client, but that it hands each request's body to
// net/http as bytes. The SDK's own reader is closed as soon as the answer
// begins, and then fails a net/http that has written the body and not yet seen
// its end: the connection is cut while the answer is being read, and a large
// one is lost ("use of closed network connection"; smithy-go 1.28.8,
// transport/http/internal/io/safe.go, WriteTo). Bytes have no such end, and go
// out in one write together with their headers.
type Client struct{ *awshttp.BuildableClient }

// NewClient returns a Client with the SDK's defaults.
func NewClient() Client { return Client{awshttp.NewBuildableClient()} }

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
	return c.BuildableClient.Do(req)
}
