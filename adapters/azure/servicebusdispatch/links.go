package servicebusdispatch

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
)

// The SDK's own retries are quick, so that a connection that was dropped while
// idle is replaced within the request. By default they would wait for 4 s first.
const (
	maxRetries    = 1
	retryDelay    = 20 * time.Millisecond
	maxRetryDelay = 500 * time.Millisecond
)

// answerTime bounds one call; the SDK has no bound of its own. A first send takes
// about 22 round trips, a later one takes one.
const answerTime = 5 * time.Second

// patience is how long a call must have waited before its connection counts as
// silent. The SDK recovers from a connection that breaks, but not from one that is
// open and never answers.
const patience = time.Second

// closeTime bounds the closing of a connection that was given up.
const closeTime = 2 * time.Second

// ClientOptions returns the options that a client needs to be bounded and quick
// to recover.
func ClientOptions() *azservicebus.ClientOptions {
	return &azservicebus.ClientOptions{RetryOptions: azservicebus.RetryOptions{
		MaxRetries: maxRetries, RetryDelay: retryDelay, MaxRetryDelay: maxRetryDelay,
	}}
}

// links is one connection and a link for each entity, made when first used.
type links struct {
	connect func() (*azservicebus.Client, error)

	mu      sync.Mutex
	client  *azservicebus.Client
	senders map[string]*sender
}

// sender is a link to one entity. It is proven once a call on it has succeeded.
type sender struct {
	*azservicebus.Sender
	entity string
	client *azservicebus.Client
	proven atomic.Bool
}

// open connects unless there is a connection. The caller holds mu, or is alone.
func (l *links) open() error {
	if l.client != nil {
		return nil
	}
	client, err := l.connect()
	if err != nil {
		return fmt.Errorf("servicebusdispatch: connect: %w", err)
	}
	l.client, l.senders = client, map[string]*sender{}
	return nil
}

func (l *links) sender(entity string) (*sender, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil {
		return nil, err
	}
	if s := l.senders[entity]; s != nil {
		return s, nil
	}
	inner, err := l.client.NewSender(entity, nil)
	if err != nil {
		return nil, err
	}
	s := &sender{Sender: inner, entity: entity, client: l.client}
	l.senders[entity] = s
	return s, nil
}

// use calls do with the link to the entity, and translates the error of do. use
// returns when ctx ends, even if the SDK does not: the SDK ignores ctx while it
// asks for a credential. use drops a dead link, so that the next call makes a new
// one. If the dead link had worked before, use calls do once more.
func use[T any](ctx context.Context, l *links, entity string, do func(context.Context, *azservicebus.Sender) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	for again := true; ; again = false {
		var v T
		if err := ctx.Err(); err != nil {
			return v, translate(err, entity)
		}
		s, err := l.sender(entity)
		if err != nil {
			return v, translate(err, entity)
		}
		start := time.Now()
		v, err = bounded(ctx, func() (T, error) { return do(ctx, s.Sender) })
		switch {
		case err == nil:
			s.proven.Store(true)
			return v, nil
		case ctx.Err() != nil:
			if time.Since(start) >= patience {
				l.giveUp(s.client)
			}
		case dead(err):
			l.drop(s)
			if again && s.proven.Load() {
				continue
			}
		}
		return v, translate(err, entity)
	}
}

// bounded returns what f does, or ctx's error as soon as ctx ends.
func bounded[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type outcome struct {
		v   T
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		v, err := f()
		done <- outcome{v, err}
	}()
	select {
	case o := <-done:
		return o.v, o.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// drop forgets a link, and closes it.
func (l *links) drop(s *sender) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.senders[s.entity] == s {
		delete(l.senders, s.entity)
		closeLater(s.Sender)
	}
}

// giveUp forgets the connection with all its links, and closes it.
func (l *links) giveUp(client *azservicebus.Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client == client {
		l.client, l.senders = nil, nil
		closeLater(client)
	}
}

// closeLater closes in the background: closing a connection whose peer is gone
// takes all of closeTime.
func closeLater(c interface{ Close(context.Context) error }) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		_ = c.Close(ctx) // it is not used again
	}()
}
