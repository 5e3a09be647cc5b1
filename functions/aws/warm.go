package main

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/taskgate/taskgate/core/task"
)

// warmTime bounds how long the start waits for the warm-up.
const warmTime = 500 * time.Millisecond

// warmUp opens the connections to the store and to the default queues, and looks
// those queues up. Every enqueue needs these, and each takes round trips. They are
// fetched concurrently during a function's init, where the handshakes have a whole
// processor: the first request would wait for one after the other. Errors are
// ignored, because the first request will meet and report them.
type warmUp struct {
	store    *dynamodb.Client
	backends map[string]task.Backend
}

func (w warmUp) do(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, warmTime)
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() { w.connect(ctx) })
	for _, b := range w.backends {
		if b.DefaultQueue != "" {
			running.Go(func() { b.Dispatcher.Limits(ctx, b.DefaultQueue, 0) })
		}
	}
	running.Wait()
}

// connect opens a connection to the store with the shortest request that it answers:
// an unsigned one, which it refuses.
func (w warmUp) connect(ctx context.Context) {
	o := w.store.Options()
	endpoint, err := o.EndpointResolverV2.ResolveEndpoint(ctx, dynamodb.EndpointParameters{Region: &o.Region, Endpoint: o.BaseEndpoint})
	if err != nil {
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, endpoint.URI.String(), nil)
	if err != nil {
		return
	}
	resp, err := o.HTTPClient.Do(req)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body) // only then is the connection kept
	_ = resp.Body.Close()
}
