package doortest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
)

var responseCases = []Case{
	{"the status comes back", statusComesBack},
	{"headers come back, repeated ones in order", headersComeBack},
	{"set-cookie headers are not joined", setCookiesComeBack},
	{"a body of any type comes back unchanged", bodyComesBack},
	{"an answer without a body stays empty", emptyComesBack},
	{"an answer to a body at the limit comes back", largeBodyComesBack},
}

func statusComesBack(ctx context.Context, open Open) error {
	var status atomic.Int64
	door := open(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n := int(status.Load()); n != 0 {
			w.WriteHeader(n)
		} else {
			fmt.Fprint(w, "a handler that sets no status answers 200")
		}
	}))
	for _, n := range []int64{0, 200, 202, 204, 304, 400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 429, 500, 503} {
		status.Store(n)
		resp, err := door.Send(ctx, Request{Method: "GET", Target: "/v1/tasks"})
		if err != nil {
			return err
		}
		if resp.Status != int(n) && (n != 0 || resp.Status != 200) {
			return fmt.Errorf("the status %d came back as %d", n, resp.Status)
		}
	}
	return nil
}

func headersComeBack(ctx context.Context, open Open) error {
	want := map[string]string{
		"Location":     "https://tasks.example/v1/tasks/1",
		"Etag":         `W/"a,b"`,
		"Retry-After":  "7",
		"Allow":        "GET, HEAD, POST",
		"Traceparent":  "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"Content-Type": "application/problem+json",
		"X-Date":       "Wed, 21 Oct 2026 07:28:00 GMT",
	}
	resp, err := answered(ctx, open, "POST", func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range want {
			w.Header().Set(name, value)
		}
		w.Header()["Link"] = []string{"</a>; rel=a", "</b>; rel=b"}
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, "{}")
	})
	if err != nil {
		return err
	}
	for name, value := range want {
		if got := resp.Header.Values(name); !slices.Equal(got, []string{value}) {
			return fmt.Errorf("the header %s: %s came back as %q", name, value, got)
		}
	}
	link := strings.ReplaceAll(strings.Join(resp.Header.Values("Link"), ","), " ", "")
	if link != "</a>;rel=a,</b>;rel=b" {
		return fmt.Errorf("two Link headers came back as %q", resp.Header.Values("Link"))
	}
	return nil
}

// setCookiesComeBack checks Set-Cookie, the only header whose values must not be
// joined by commas (RFC 6265, section 3).
func setCookiesComeBack(ctx context.Context, open Open) error {
	want := []string{"a=1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2; HttpOnly", "a=3; Path=/v1"}
	resp, err := answered(ctx, open, "GET", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Set-Cookie"] = slices.Clone(want)
		fmt.Fprint(w, "ok")
	})
	if err != nil {
		return err
	}
	if got := resp.Header.Values("Set-Cookie"); !slices.Equal(got, want) {
		return fmt.Errorf("the cookies %q came back as %q", want, got)
	}
	return nil
}

func bodyComesBack(ctx context.Context, open Open) error {
	for kind, body := range bodies {
		resp, err := answered(ctx, open, "GET", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			half := len(body) / 2 // in two writes
			_, _ = w.Write(body[:half])
			_, _ = w.Write(body[half:])
		})
		if err != nil {
			return err
		}
		if !bytes.Equal(resp.Body, body) {
			return fmt.Errorf("the %s body %q came back as %q", kind, body, resp.Body)
		}
	}
	return nil
}

func emptyComesBack(ctx context.Context, open Open) error {
	for _, c := range []struct {
		method string
		status int
		body   string // the handler writes this body, and the client must not get it
	}{{"GET", 200, ""}, {"POST", 202, ""}, {"DELETE", 204, ""}, {"GET", 304, ""}, {"HEAD", 200, "a body that HEAD must not return"}} {
		resp, err := answered(ctx, open, c.method, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Etag", `"e"`)
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.body)
		})
		if err != nil {
			return err
		}
		if len(resp.Body) != 0 || resp.Header.Get("Etag") != `"e"` {
			return fmt.Errorf("the answer to %s with status %d came back with the body %q, ETag %s", c.method, c.status, resp.Body, resp.Header.Get("Etag"))
		}
	}
	return nil
}

// answerRoom is how much longer the answer is than the largest request. The answer
// repeats most of the request. For each of a batch's hundred tasks it adds the other
// members of the task's document, or it has a problem (docs/decisions/0009).
const answerRoom = 450 << 10

func largeBodyComesBack(ctx context.Context, open Open) error {
	body := binary(open(http.NotFoundHandler()).limit() + answerRoom)
	resp, err := answered(ctx, open, "GET", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
	if err != nil {
		return err
	}
	if !bytes.Equal(resp.Body, body) {
		return fmt.Errorf("a body of %d bytes came back changed, with %d bytes", len(body), len(resp.Body))
	}
	return nil
}
