// Package memo caches values that a dispatcher looks up in its target.
package memo

import (
	"context"
	"sync"
	"time"
)

// failureLife is how long a failure is cached. One request asks twice, for the
// limits and to send, and must not call a target that is down for each.
const failureLife = 250 * time.Millisecond

// Cache keeps the value of each key once it is fetched, and a failure for a
// moment. Concurrent callers share one fetch. The methods may be called
// concurrently.
type Cache[V any] struct {
	fetch func(ctx context.Context, key string) (V, error)
	limit time.Duration

	mu      sync.Mutex
	entries map[string]*entry[V]
}

type entry[V any] struct {
	done  chan struct{}
	value V
	err   error
}

// New returns a cache of what fetch returns. A fetch outlives the request that
// began it, because others wait for it too; it ends after limit.
func New[V any](limit time.Duration, fetch func(ctx context.Context, key string) (V, error)) *Cache[V] {
	return &Cache[V]{fetch: fetch, limit: limit, entries: map[string]*entry[V]{}}
}

// Get returns the value of key. A request that has ended gets a cached value, but
// begins no fetch.
func (c *Cache[V]) Get(ctx context.Context, key string) (V, error) {
	c.mu.Lock()
	e, found := c.entries[key]
	if !found && ctx.Err() == nil {
		e = &entry[V]{done: make(chan struct{})}
		c.entries[key] = e
		go c.fill(context.WithoutCancel(ctx), key, e)
	}
	c.mu.Unlock()
	if e != nil {
		select {
		case <-e.done: // first, so that a request that has ended gets a cached value
			return e.value, e.err
		default:
		}
		select {
		case <-e.done:
			return e.value, e.err
		case <-ctx.Done():
		}
	}
	var none V
	return none, ctx.Err()
}

func (c *Cache[V]) fill(ctx context.Context, key string, e *entry[V]) {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	e.value, e.err = c.fetch(ctx, key)
	if e.err != nil {
		time.AfterFunc(failureLife, func() { c.drop(key, e) })
	}
	close(e.done)
}

func (c *Cache[V]) drop(key string, e *entry[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[key] == e {
		delete(c.entries, key)
	}
}

// Forget makes the next Get fetch again.
func (c *Cache[V]) Forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, key)
}
