package httpclient_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/taskgate/taskgate/adapters/azure/httpclient"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
)

func post(t *testing.T, c *httpclient.Client, url string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err == nil {
		_ = res.Body.Close()
	}
	return err
}

func TestOneResetOnAReusedConnectionDropsAllIdleConnections(t *testing.T) {
	t.Parallel()
	const burst = 8
	var together sync.WaitGroup // so that each request of the burst has a connection of its own
	together.Add(burst)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/burst" {
			together.Done()
			together.Wait()
		}
	}))
	t.Cleanup(server.Close)
	p := faultproxy.NewTCP(t, server.Listener.Addr().String())
	url := "http://" + p.Addr()
	c := httpclient.New()
	var all sync.WaitGroup
	for range burst {
		all.Go(func() {
			if err := post(t, c, url+"/burst"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if p.Open() != burst {
		t.Fatalf("%d connections are open, want %d", p.Open(), burst)
	}
	p.Stale()
	if post(t, c, url) == nil {
		t.Fatal("a stale connection answers")
	}
	for range burst {
		if err := post(t, c, url); err != nil {
			t.Fatalf("after the first reset: %v", err)
		}
	}
	if p.Accepted() != burst+1 {
		t.Errorf("%d connections were made, want %d: the requests after the reset share one", p.Accepted(), burst+1)
	}
}
