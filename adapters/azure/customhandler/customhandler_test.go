package customhandler_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/adapters/azure/customhandler"
	"github.com/taskgate/taskgate/core/httpapi"
)

// seen is what a handler saw.
type seen struct {
	*http.Request
	gateway httpapi.Gateway
	body    string
}

// through sends one request through a door, as the host would.
func through(t *testing.T, door customhandler.Door, r *http.Request) *seen {
	t.Helper()
	var s *seen
	door.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s = &seen{r, httpapi.GatewayOf(r.Context()), string(body)}
	})
	w := httptest.NewRecorder()
	door.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Errorf("answered %d", w.Code)
	}
	return s
}

func request(target, body string, headers ...string) *http.Request {
	r := httptest.NewRequest("POST", target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func TestHostPingIsNotPassedToTheHandler(t *testing.T) {
	if s := through(t, customhandler.Door{}, httptest.NewRequest("GET", "/", nil)); s != nil {
		t.Error("the handler was asked")
	}
	for _, header := range []string{"X-Azure-Functions-InvocationId", "x-ms-invocation-id"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set(header, "0b6b4a27-6fc8-4d34-9d0e-0f1bdf8e9f53")
		s := through(t, customhandler.Door{}, r)
		if s == nil || s.gateway.RequestID != "0b6b4a27-6fc8-4d34-9d0e-0f1bdf8e9f53" {
			t.Errorf("%s: a client's request: %+v", header, s)
		}
	}
}

func TestGatewayComesOnlyFromThePlatform(t *testing.T) {
	claims := []string{
		"X-Ms-Client-Principal-Idp", "aad", "X-Ms-Client-Principal-Id", "id", "X-Ms-Client-Principal-Name", "mallory",
		"X-Forwarded-Host", "evil.example", "X-Azure-Functions-InvocationId", "i\n\"}", "X-Functions-Key", "k",
	}
	base := customhandler.BaseURL("app.azurewebsites.net")
	for name, c := range map[string]struct {
		caller func(*http.Request) string
		want   string
	}{
		"nobody is trusted by default": {nil, ""},
		"Easy Auth":                    {customhandler.EasyAuth, "aad:id"},
		"function keys":                {customhandler.FunctionKey, customhandler.KeyCaller},
	} {
		s := through(t, customhandler.Door{BaseURL: base, Caller: c.caller}, request("http://evil.example/v1/tasks", "", claims...))
		want := httpapi.Gateway{BaseURL: "https://app.azurewebsites.net", Caller: c.want, Cookie: c.want != ""}
		if s.gateway != want {
			t.Errorf("%s: %+v, want %+v", name, s.gateway, want)
		}
	}
	for _, incomplete := range [][]string{
		nil, {"X-Ms-Client-Principal-Id", "id"}, {"X-Ms-Client-Principal-Idp", "aad", "X-Ms-Client-Principal-Name", "n"},
		{"X-Ms-Client-Principal-Idp", "aad", "X-Ms-Client-Principal-Id", "a", "X-Ms-Client-Principal-Id", "b"},
	} {
		if caller := customhandler.EasyAuth(request("/v1/tasks", "", incomplete...)); caller != "" {
			t.Errorf("%q is %s", incomplete, caller)
		}
	}
	if caller := customhandler.FunctionKey(request("/v1/tasks?code=", "")); caller != "" {
		t.Errorf("no key is %s", caller)
	}
	if base := customhandler.BaseURL(""); base != "" {
		t.Errorf("without a host name: %s", base)
	}
}

func TestAFunctionKeyDoesNotReachTheHandler(t *testing.T) {
	for query, want := range map[string]string{
		"":                            "",
		"code=secret":                 "",
		"wait=1&code=secret":          "wait=1",
		"%63ode=secret&a=%20b&c=d+e%": "a=%20b&c=d+e%",
		"a=code&Code=1&codes=2&&code": "a=code&Code=1&codes=2&",
	} {
		target := "/v1/tasks"
		if query != "" {
			target += "?" + query
		}
		r := request(target, "", "X-Functions-Key", "secret", "Taskgate-Token", "t")
		s := through(t, customhandler.Door{Caller: customhandler.FunctionKey}, r)
		if s.URL.RawQuery != want || strings.Contains(s.RequestURI, "secret") || s.Header.Get("X-Functions-Key") != "" || s.Header.Get("Taskgate-Token") != "t" {
			t.Errorf("%s: %s, %s, %v", query, s.URL.RawQuery, s.RequestURI, s.Header)
		}
		if s.gateway.Caller != customhandler.KeyCaller {
			t.Errorf("%s: the caller is %q", query, s.gateway.Caller)
		}
	}
}

func TestForwardedRequestIsRestored(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(`{"task_name":"t"}`))
	_ = z.Close()
	for _, c := range []struct{ body, agent, wantAgent, wantCoding string }{
		{packed.String(), "curl/8.5 Azure-Functions-Host/4.1037.0.0", "curl/8.5", "gzip"},
		{`{"task_name":"t"}`, "Azure-Functions-Host/4.1037.0.0", "", ""},
		{"", "a (b) Azure-Functions-Host/4.1037.0.0", "a (b)", ""},
		{"\x1f", "", "", ""},
	} {
		r := request("/v1/tasks", c.body, "X-Azure-Functions-InvocationId", "1")
		if c.agent != "" {
			r.Header.Set("User-Agent", c.agent)
		}
		s := through(t, customhandler.Door{}, r)
		if s.body != c.body || s.UserAgent() != c.wantAgent || s.Header.Get("Content-Encoding") != c.wantCoding {
			t.Errorf("%q by %q: %q by %q, coding %q", c.body, c.agent, s.body, s.UserAgent(), s.Header.Get("Content-Encoding"))
		}
	}
	proxied := through(t, customhandler.Door{}, request("/v1/tasks", packed.String(), "X-Ms-Invocation-Id", "1", "User-Agent", "x Azure-Functions-Host/1"))
	if proxied.Header.Get("Content-Encoding") != "" || proxied.UserAgent() != "x Azure-Functions-Host/1" {
		t.Errorf("what was proxied has changed: %v", proxied.Header)
	}
}

func TestFunctionKeyIsCheckedByTheHost(t *testing.T) {
	callers := make(chan string, 1)
	h := host(t, forwarding, "function", &customhandler.Door{
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { callers <- httpapi.GatewayOf(r.Context()).Caller }),
		Caller:  customhandler.FunctionKey,
	})
	for key, want := range map[string]int{"": 401, "guessed": 401, "secret": 200} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", h.URL()+"/v1/tasks", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Functions-Key", key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%q is answered %d", key, resp.StatusCode)
		}
	}
	if caller := <-callers; caller != customhandler.KeyCaller {
		t.Errorf("the caller is %q", caller)
	}
}

func TestServeListensOnLoopbackAndStopsWithItsContext(t *testing.T) {
	listener, err := customhandler.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().(*net.TCPAddr)
	if !addr.IP.IsLoopback() {
		t.Errorf("it listens on %s", addr)
	}
	if _, err := customhandler.Listen(addr.Port); err == nil || !strings.Contains(err.Error(), customhandler.PortVariable) {
		t.Errorf("a port in use: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	asked, release := make(chan struct{}), make(chan struct{})
	served := make(chan error, 1)
	go func() {
		served <- customhandler.Serve(ctx, listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(asked)
			<-release
		}), slog.New(slog.DiscardHandler))
	}()
	answered := make(chan error, 1)
	go func() {
		resp, err := http.Get("http://" + addr.String())
		if err == nil {
			err = resp.Body.Close()
		}
		answered <- err
	}()
	<-asked
	stop()
	close(release)
	if err := errors.Join(<-answered, <-served); err != nil {
		t.Error(err)
	}
	closed, err := customhandler.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	if err := customhandler.Serve(t.Context(), closed, http.NotFoundHandler(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("it serves without a listener")
	}
}
