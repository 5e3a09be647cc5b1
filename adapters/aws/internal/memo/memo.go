// Package memo remembers what was looked up.
package memo

import (
	"context"
	"sync"
	"time"
)

// failureLife is how long a failure is remembered: one request asks twice, for
// what a target can do and to send, and must not call one that is down for each.
const failureLife = 250 * time.Millisecond

// Cache remembers a value for each key once it was fetched, and a failure for a
// moment. Whoever asks meanwhile shares the fetch. The methods may be called
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

// New returns a cache of what fetch returns. A fetch does not end with the
// request that began it, for others wait for it too, but after limit.
func New[V any](limit time.Duration, fetch func(ctx context.Context, key string) (V, error)) *Cache[V] {
	return &Cache[V]{fetch: fetch, limit: limit, entries: map[string]*entry[V]{}}
}

// Get returns the value of key. A request that has ended begins nothing.
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
		case <-e.done: // first, so that what is known is known to a request that has ended
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
