package cosmosstore

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"

	"github.com/taskgate/taskgate/adapters/azure/httpclient"
)

// answerTime bounds one call with its retries. Against an account that refuses
// connections the SDK tries for 3 s.
const answerTime = 5 * time.Second

// tryTime bounds one try within a call.
const tryTime = 4 * time.Second

// statusRetryWith asks to repeat a write that met another.
const statusRetryWith = 449

// ClientOptions returns the options that bound a client. Each failure is retried
// by one layer. azcosmos repeats reads, and writes that were never sent. azcore
// repeats what the service refused without applying it, if the service asks for
// no more than half a second of patience. Neither repeats a write whose answer
// was lost; see [Store.Create].
func ClientOptions() *azcosmos.ClientOptions {
	return &azcosmos.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: httpclient.New(),
		Retry: policy.RetryOptions{
			MaxRetries: 1, RetryDelay: 50 * time.Millisecond, MaxRetryDelay: 500 * time.Millisecond,
			TryTimeout:  tryTime,
			StatusCodes: []int{http.StatusTooManyRequests, statusRetryWith},
		},
	}}
}

// patience is how long a call must have waited before its time-out says anything
// about the service: a caller's own deadline may be shorter. What answerTime
// leaves for a second try of Create is more.
const patience = 900 * time.Millisecond

// maxSilent is how many calls of one kind, in a row, may time out before their
// client is given up.
const maxSilent = 2

// kind is a kind of call. The account may name one region for writes and another
// for reads, so one kind may be answered while the other is not.
type kind int

const (
	read kind = iota
	write
	kinds
)

// connection is a client, and the judgement on it. A client reads the account's
// description first, which names the regions to use. It keeps it, or the error,
// for five minutes. So a client is replaced
//   - until the account has answered it once, and
//   - when its region stays silent: the description may name another by now.
type connection struct {
	connect func() (*azcosmos.ContainerClient, error)

	mu     sync.Mutex
	client *azcosmos.ContainerClient
	proven bool
	silent [kinds]int // time-outs since the last answer
}

func (c *connection) container() (*azcosmos.ContainerClient, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		client, err := c.connect()
		if err != nil {
			return nil, err
		}
		c.client, c.proven, c.silent = client, false, [kinds]int{}
	}
	return c.client, nil
}

// judge decides by a call's outcome whether its client is kept.
func (c *connection) judge(client *azcosmos.ContainerClient, k kind, err error, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != client {
		return
	}
	switch {
	case err == nil, ofItem(err):
		c.proven, c.silent[k] = true, 0
	case !c.proven:
		c.client = nil
	case status(err) != 0:
		c.silent[k] = 0
	case timedOut(err) && took >= patience:
		if c.silent[k]++; c.silent[k] >= maxSilent {
			c.client = nil
		}
	}
}

// call calls do with a client. It returns when ctx ends even if the SDK does
// not: the SDK reads the account's description without regard to ctx.
func call[T any](ctx context.Context, c *connection, k kind, do func(context.Context, *azcosmos.ContainerClient) (T, error)) (T, error) {
	type outcome struct {
		v   T
		err error
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	client, err := c.container()
	if err != nil {
		return none, err
	}
	start := time.Now()
	done := make(chan outcome, 1)
	go func() {
		v, err := do(ctx, client)
		done <- outcome{v, err}
	}()
	var o outcome
	select {
	case o = <-done:
	case <-ctx.Done():
		o.err = ctx.Err()
	}
	c.judge(client, k, o.err, time.Since(start))
	return o.v, o.err
}
