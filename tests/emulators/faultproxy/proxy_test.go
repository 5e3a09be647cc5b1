package faultproxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/wait"
)

// counting is an upstream that counts what it was asked to apply.
func counting(t *testing.T) (*faultproxy.Proxy, *atomic.Int32) {
	t.Helper()
	applied := new(atomic.Int32)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		applied.Add(1)
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Method+" "+r.URL.RequestURI()+" "+string(body))
	}))
	t.Cleanup(upstream.Close)
	return faultproxy.New(t, upstream.URL), applied
}

func post(ctx context.Context, url string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("hello"))
	if err != nil {
		return 0, "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

func TestAnUnfaultedRequestPassesUnchanged(t *testing.T) {
	t.Parallel()
	p, _ := counting(t)
	if _, body, err := post(t.Context(), p.URL()+"/a%2Fb?x=1&x=2"); err != nil || body != "POST /a%2Fb?x=1&x=2 hello" {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestEachFaultSaysWhetherTheRequestWasApplied(t *testing.T) {
	t.Parallel()
	isReset := func(err error) bool { return errors.Is(err, syscall.ECONNRESET) }
	cutShort := func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }
	for name, c := range map[string]struct {
		fault   faultproxy.Fault
		applied int32
		failed  func(error) bool // nil = there is no answer
	}{
		"reset before":  {faultproxy.ResetBefore, 0, isReset},
		"reset after":   {faultproxy.ResetAfter, 1, isReset},
		"silent before": {faultproxy.SilentBefore, 0, nil},
		"silent after":  {faultproxy.SilentAfter, 1, nil},
		"truncated":     {faultproxy.Truncated, 1, cutShort},
		"too late":      {faultproxy.Latency(time.Hour), 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, applied := counting(t)
			p.Next(faultproxy.Any, c.fault)
			ctx, hangUp := context.WithTimeout(t.Context(), wait.Patience)
			defer hangUp()
			if c.failed == nil {
				c.failed = func(err error) bool { return errors.Is(err, context.Canceled) }
				go func() {
					faultproxy.AwaitHeld(t, 1, p.Held)
					hangUp()
				}()
			}
			if status, body, err := post(ctx, p.URL()); err == nil || !c.failed(err) {
				t.Errorf("got %d %q, %v", status, body, err)
			}
			if applied.Load() != c.applied {
				t.Errorf("applied %d times, want %d", applied.Load(), c.applied)
			}
			if _, _, err := post(t.Context(), p.URL()); err != nil {
				t.Errorf("the next request failed too: %v", err)
			}
		})
	}
}

func TestAScriptFailsTheNextMatchingRequestsInOrderAndCountsAll(t *testing.T) {
	t.Parallel()
	p, applied := counting(t)
	bad := faultproxy.Route(http.MethodPost, "/bad")
	p.Next(bad, faultproxy.Status(503, "first"), faultproxy.Status(429, "second", "Retry-After", "1"))
	for _, want := range []struct {
		path   string
		status int
	}{{"/good", 200}, {"/bad", 503}, {"/good", 200}, {"/bad", 429}, {"/bad", 200}} {
		if status, _, err := post(t.Context(), p.URL()+want.path); err != nil || status != want.status {
			t.Errorf("%s: %d, %v, want %d", want.path, status, err, want.status)
		}
	}
	p.Always(bad, faultproxy.Status(500, ""))
	for _, want := range []int{500, 500} {
		if status, _, _ := post(t.Context(), p.URL()+"/bad"); status != want {
			t.Errorf("standing fault: %d", status)
		}
	}
	p.Restore()
	if status, _, _ := post(t.Context(), p.URL()+"/bad"); status != 200 {
		t.Errorf("after Restore: %d", status)
	}
	if p.Count(bad) != 6 || p.Count(faultproxy.Any) != 8 || applied.Load() != 4 {
		t.Errorf("counted %d bad of %d, %d applied", p.Count(bad), p.Count(faultproxy.Any), applied.Load())
	}
}

func TestAHeldRequestGoesOnWhenReleased(t *testing.T) {
	t.Parallel()
	for name, hold := range map[string]func(<-chan struct{}) faultproxy.Fault{
		"before": faultproxy.HoldBefore, "after": faultproxy.HoldAfter,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, applied := counting(t)
			release, answered := make(chan struct{}), make(chan error, 1)
			p.Next(faultproxy.Any, hold(release))
			go func() {
				_, _, err := post(t.Context(), p.URL())
				answered <- err
			}()
			faultproxy.AwaitHeld(t, 1, p.Held)
			if want := map[string]int32{"before": 0, "after": 1}[name]; applied.Load() != want {
				t.Errorf("held, and applied %d times, want %d", applied.Load(), want)
			}
			select {
			case err := <-answered:
				t.Errorf("answered before the release: %v", err)
			default:
			}
			close(release)
			if err := <-answered; err != nil || applied.Load() != 1 {
				t.Errorf("applied %d times, %v", applied.Load(), err)
			}
		})
	}
}
