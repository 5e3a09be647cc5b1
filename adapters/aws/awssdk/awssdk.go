// Package awssdk has what the AWS adapters share: how long a client of the SDK may
// take, and the meaning of errors that every service has.
package awssdk

import (
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// AnswerTime bounds one call of an adapter, its retry included.
const AnswerTime = 7 * time.Second

// maxBackoff is the longest wait before the second attempt.
const maxBackoff = 200 * time.Millisecond

// backoff spreads the second attempts of requests that failed together evenly over
// maxBackoff. The SDK's own delays grow with the attempts; there is only one here.
func backoff(int, error) (time.Duration, error) { return rand.N(maxBackoff), nil }

// retryCost is how many of the client's 500 retry tokens a retry takes, and a
// success gives back. It lets 100 requests retry at once: as many as a batch has,
// and as connections that can be pooled and dead. The SDK's own cost is 14.
const retryCost = 5

// Bound makes the clients of cfg bounded. Nothing but the SDK retries: once, soon,
// and only what it knows to be worth it (throttling, 5xx, broken connections),
// within the request's own deadline. AWS_MAX_ATTEMPTS has no effect. The clients
// of cfg share its connections; an HTTP client that cfg has already stays.
func Bound(cfg *aws.Config) {
	cfg.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts = 2
			o.Backoff = retry.BackoffDelayerFunc(backoff)
			o.RetryCost = retryCost
		})
	}
	if cfg.HTTPClient == nil {
		cfg.HTTPClient = NewClient()
	}
}
