// Package awssdk is what the AWS adapters have in common: how long a client of
// the SDK may take, and what its errors mean where every service says the same.
package awssdk

import (
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// AnswerTime bounds one call of an adapter, its retry included.
const AnswerTime = 7 * time.Second

// The bounds of one attempt: to connect, and then to be answered.
const (
	connectTime = 2 * time.Second
	attemptTime = 3 * time.Second
)

// maxBackoff is the longest wait before the second attempt.
const maxBackoff = 200 * time.Millisecond

// backoff spreads the second attempts of all who failed together evenly over
// maxBackoff. The SDK's own, bounded below a second, is always its bound: it takes
// the logarithm of that for the number of attempts that it spreads.
func backoff(int, error) (time.Duration, error) { return rand.N(maxBackoff), nil }

// Bound makes the clients of cfg bounded. The SDK is the one layer that
// retries: once, soon, and only what it knows to be worth it (throttling, 5xx,
// broken connections), within the request's own deadline. AWS_MAX_ATTEMPTS has
// no say. A connection that has silently died, as one does while its function
// is frozen, costs one attempt. All clients of cfg share its connections.
func Bound(cfg *aws.Config) {
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = 2
			o.Backoff = retry.BackoffDelayerFunc(backoff)
		})
	}
	client := NewClient()
	switch given := cfg.HTTPClient.(type) {
	case nil:
	case Client:
		client = given
	case *awshttp.BuildableClient:
		client.BuildableClient = given
	default:
		return // the main has one of its own making
	}
	client.BuildableClient = client.
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = connectTime }).
		WithTransportOptions(func(t *http.Transport) {
			t.TLSHandshakeTimeout = connectTime
			t.ResponseHeaderTimeout = attemptTime
			t.MaxIdleConnsPerHost = 100 // a batch makes 32 calls side by side
		})
	cfg.HTTPClient = client
}
