package functionshost_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/tests/emulators/functionshost"
	"github.com/taskgate/taskgate/tests/wait"
)

// TestMain makes the test binary its own custom handler.
func TestMain(m *testing.M) {
	port := os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT")
	if port == "" {
		os.Exit(m.Run())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/exit", func(_ http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.URL.Query().Get("with"))
		os.Exit(code)
	})
	mux.HandleFunc("/v1/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/v1/else", http.StatusFound) })
	mux.HandleFunc("/v1/stream", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("POST /Worker", work)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_ = json.NewEncoder(w).Encode(seen{r.Method, r.URL.RequestURI(), r.Host, r.Header, string(body)})
	})
	fmt.Println("serving for", os.Getenv("FUNCTIONS_APP_ROOT_PATH"), os.Getenv("HOME"))
	fmt.Println(http.ListenAndServe("127.0.0.1:"+port, mux))
	os.Exit(1)
}

// seen is a request as the handler got it.
type seen struct {
	Method, URI, Host string
	Header            http.Header
	Body              string
}

// stage writes a deployable folder: files maps paths to contents.
func stage(t *testing.T, custom string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["host.json"] = fmt.Sprintf(`{"version":"2.0","extensions":{"http":{"routePrefix":""},"queues":{"maxDequeueCount":2}},
		"customHandler":{"description":{"defaultExecutablePath":%q},%s}}`, os.Args[0], custom)
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	forwarding = `"enableForwardingHttpRequest":true`
	proxying   = `"enableForwardingHttpRequest":true,"enableProxyingHttpRequest":true`
)

func httpFunction(route, level string, methods ...string) string {
	list, _ := json.Marshal(methods)
	return fmt.Sprintf(`{"bindings":[{"type":"httpTrigger","direction":"in","name":"req","authLevel":%q,"route":%q,"methods":%s},
		{"type":"http","direction":"out","name":"res"}]}`, level, route, list)
}

func apiHost(t *testing.T, custom string) *functionshost.Host {
	t.Helper()
	t.Parallel()
	return functionshost.Start(t, stage(t, custom, map[string]string{
		"Api/function.json":        httpFunction("v1/{*path}", "anonymous"),
		"Health/function.json":     httpFunction("healthz", "anonymous", "get"),
		"Keyed/function.json":      httpFunction("v1/keyed/{id}", "function"),
		"a/b/Deeper/function.json": `not read: two levels down`,
	}), functionshost.Options{Keys: map[string]string{"Keyed": "k1"}, HostKey: "h1"})
}

func do(t *testing.T, method, url, body string, change func(*http.Request)) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func got(t *testing.T, text string) seen {
	t.Helper()
	var s seen
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return s
}

func TestOnlyRoutesExistOutside(t *testing.T) {
	h := apiHost(t, forwarding)
	for _, c := range []struct {
		method, path, key string
		status            int
	}{
		{"POST", "/v1/tasks", "", 200}, {"GET", "/V1/tasks/1/x", "", 200}, {"GET", "/v1", "", 200},
		{"GET", "/healthz", "", 200}, {"POST", "/healthz", "", 404},
		{"GET", "/", "", 404}, {"POST", "/Worker", "", 404}, {"POST", "/Api", "", 404}, {"GET", "/api/v1/tasks", "", 404},
		{"GET", "/v1/keyed/1", "", 401}, {"GET", "/v1/keyed/1", "wrong", 401},
		{"GET", "/v1/keyed/1", "k1", 200}, {"GET", "/v1/keyed/1", "h1", 200}, {"GET", "/v1/keyed/1/2", "", 200},
		{"GET", "/v1/keyed/1?code=k1", "", 200},
	} {
		res, _ := do(t, c.method, h.URL()+c.path, "", func(r *http.Request) {
			if c.key != "" {
				r.Header.Set("x-functions-key", c.key)
			}
		})
		if res.StatusCode != c.status {
			t.Errorf("%s %s with key %q: %d, want %d", c.method, c.path, c.key, res.StatusCode, c.status)
		}
	}
}

func TestForwardingCopiesWhatTheHostCopies(t *testing.T) {
	h := apiHost(t, forwarding)
	_, text := do(t, "POST", h.URL()+"/v1/a%2Fb?x=1&x=2", "hello", func(r *http.Request) {
		r.Host = "spoofed.example"
		r.Header.Set("Content-Type", "text/plain")
		r.Header.Set("Content-Encoding", "gzip")
		r.Header.Set("X-Functions-Key", "secret")
	})
	s := got(t, text)
	if s.Method != "POST" || s.URI != "/v1/a%2Fb?x=1%2C2" || s.Body != "hello" || s.Host != "spoofed.example" {
		t.Errorf("got %+v", s)
	}
	for name, want := range map[string]string{"Content-Type": "text/plain", "X-Functions-Key": "secret", "Content-Encoding": ""} {
		if s.Header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, s.Header.Get(name), want)
		}
	}
	if s.Header.Get("X-Azure-Functions-InvocationId") == "" || s.Header.Get("X-Azure-Functions-HostVersion") == "" {
		t.Errorf("headers %v", s.Header)
	}
	chunked := func(r *http.Request) { r.ContentLength = -1 }
	if _, text = do(t, "POST", h.URL()+"/v1/x", "hello", chunked); got(t, text).Body != "" {
		t.Errorf("a chunked body arrived: %s", text)
	}
	if res, text := do(t, "GET", h.URL()+"/v1/moved", "", nil); res.StatusCode != 200 || got(t, text).URI != "/v1/else" {
		t.Errorf("a redirect was not followed by the host: %d %s", res.StatusCode, text)
	}
}

func TestProxyingStreams(t *testing.T) {
	h := apiHost(t, proxying)
	_, text := do(t, "POST", h.URL()+"/v1/x?a=1&a=2", "hello", func(r *http.Request) { r.ContentLength = -1 })
	if s := got(t, text); s.Body != "hello" || s.URI != "/v1/x?a=1&a=2" || s.Header.Get("X-Ms-Invocation-Id") == "" {
		t.Errorf("got %+v", s)
	}
	if res, _ := do(t, "GET", h.URL()+"/v1/moved", "", nil); res.StatusCode != http.StatusFound {
		t.Errorf("a redirect was followed: %d", res.StatusCode)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.URL()+"/v1/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	first := make([]byte, 5)
	if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != "first" {
		t.Errorf("streamed %q, %v", first, err)
	}
}

func TestTheHandlerIsRestartedByTheHostsRules(t *testing.T) {
	h := apiHost(t, forwarding)
	ctx, cancel := context.WithTimeout(t.Context(), wait.Patience)
	defer cancel()
	if line, err := h.AwaitLog(ctx, "serving for"); err != nil || strings.HasSuffix(line, os.Getenv("HOME")) {
		t.Errorf("%q, %v: the test's environment was inherited", line, err)
	}
	exit := func(code int) {
		do(t, "POST", h.URL()+"/v1/exit?with="+strconv.Itoa(code), "", nil)
	}
	for start, end := range []func(){
		func() { exit(200) }, // asks for it, and is no error
		h.KillHandler,
		func() { exit(3) },
	} {
		end()
		if err := h.AwaitStart(ctx, start+2); err != nil {
			t.Fatal(err)
		}
	}
	exit(1)
	if err := h.AwaitShutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if res, _ := do(t, "GET", h.URL()+"/v1/x", "", nil); res.StatusCode != http.StatusInternalServerError {
		t.Errorf("without a handler: %d", res.StatusCode)
	}
}

func TestAnExitWithZeroIsNotRestarted(t *testing.T) {
	h := apiHost(t, forwarding)
	do(t, "POST", h.URL()+"/v1/exit?with=0", "", nil)
	ctx, cancel := context.WithTimeout(t.Context(), wait.Patience)
	defer cancel()
	if err := h.AwaitShutdown(ctx); err != nil {
		t.Error(err)
	}
}
