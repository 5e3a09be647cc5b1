package memo_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskgate/taskgate/adapters/aws/internal/memo"
)

func TestConcurrentFirstRequestsFetchOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fetches atomic.Int32
		c := memo.New(time.Minute, func(_ context.Context, key string) (string, error) {
			fetches.Add(1)
			time.Sleep(time.Second)
			return "the " + key, nil
		})
		for range 20 {
			go func() {
				if v, err := c.Get(t.Context(), "key"); v != "the key" || err != nil {
					t.Error(v, err)
				}
			}()
		}
		time.Sleep(2 * time.Second)
		if n := fetches.Load(); n != 1 {
			t.Errorf("%d fetches", n)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if v, err := c.Get(ended, "key"); v != "the key" || err != nil {
			t.Errorf("what is known, to a request that has ended: %q, %v", v, err)
		}
		if _, err := c.Get(ended, "other"); !errors.Is(err, context.Canceled) || fetches.Load() != 1 {
			t.Errorf("what is not known, to a request that has ended: %v", err)
		}
		c.Forget("key")
		if _, err := c.Get(t.Context(), "key"); err != nil || fetches.Load() != 2 {
			t.Errorf("forgotten: %v, %d fetches", err, fetches.Load())
		}
	})
}

func TestFailureIsForgottenSoonAndNotSharedWithOtherRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := errors.New("missing")
		var fetches atomic.Int32
		c := memo.New(5*time.Second, func(ctx context.Context, _ string) (int, error) {
			fetches.Add(1)
			if fail != nil {
				<-ctx.Done() // ends by the cache's own limit
				return 0, fail
			}
			return 7, nil
		})
		first, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			if _, err := c.Get(first, "key"); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}()
		time.Sleep(time.Millisecond)
		if _, err := c.Get(t.Context(), "key"); !errors.Is(err, fail) {
			t.Error(err)
		}
		if _, err := c.Get(t.Context(), "key"); !errors.Is(err, fail) || fetches.Load() != 1 {
			t.Errorf("asked again at once: %v, %d fetches", err, fetches.Load())
		}
		fail = nil
		time.Sleep(time.Second)
		if v, err := c.Get(t.Context(), "key"); v != 7 || err != nil {
			t.Error(v, err)
		}
	})
}
