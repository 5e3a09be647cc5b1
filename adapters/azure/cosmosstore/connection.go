package cosmosstore

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
)

// answerTime bounds one call with its retries. Against an account that refuses
// connections the SDK tries for 3 s.
const answerTime = 5 * time.Second

// statusRetryWith asks to repeat a write that met another.
const statusRetryWith = 449

// ClientOptions returns the options that a client needs to be bounded. Each
// failure is retried by one layer: azcosmos' own repeats reads, and writes that
// were never sent; azcore's repeats what was refused without being applied, if
// the service asks for no more than half a second of patience. A write whose
// answer was lost is repeated by neither; see [Store.Create].
func ClientOptions() *azcosmos.ClientOptions {
	return &azcosmos.ClientOptions{ClientOptions: azcore.ClientOptions{Retry: policy.RetryOptions{
		MaxRetries: 1, RetryDelay: 50 * time.Millisecond, MaxRetryDelay: 500 * time.Millisecond,
		TryTimeout:  4 * time.Second,
		StatusCodes: []int{http.StatusTooManyRequests, statusRetryWith},
	}}}
}

// connection is a client that is replaced until the account has answered once.
// A client's first act is to read the account's description; if that fails, it
// answers all requests of the next five minutes with that error.
type connection struct {
	connect func() (*azcosmos.ContainerClient, error)

	mu     sync.Mutex
	client *azcosmos.ContainerClient
	proven bool
}

func (c *connection) container() (*azcosmos.ContainerClient, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		client, err := c.connect()
		if err != nil {
			return nil, err
		}
		c.client = client
	}
	return c.client, nil
}

// judge notes whether a client is of use.
func (c *connection) judge(client *azcosmos.ContainerClient, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proven || c.client != client {
		return
	}
	switch status(err) {
	case http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed, http.StatusRequestEntityTooLarge:
		err = nil // of an item: the account has answered before
	}
	if c.proven = err == nil; !c.proven {
		c.client = nil
	}
}

// call calls do with a client. It returns when ctx ends even if the SDK does
// not: it reads the account's description without regard to it.
func call[T any](ctx context.Context, c *connection, do func(context.Context, *azcosmos.ContainerClient) (T, error)) (T, error) {
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
	done := make(chan outcome, 1)
	go func() {
		v, err := do(ctx, client)
		done <- outcome{v, err}
	}()
	select {
	case o := <-done:
		c.judge(client, o.err)
		return o.v, o.err
	case <-ctx.Done():
		c.judge(client, ctx.Err())
		return none, ctx.Err()
	}
}
