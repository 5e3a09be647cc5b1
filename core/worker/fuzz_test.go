package worker_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/core/worker"
)

// FuzzEventsURL: a URL that a message may name is one whose request goes to the
// base's host, below the base's path. Whoever can send messages must not choose
// who gets the reports.
func FuzzEventsURL(f *testing.F) {
	for _, seed := range [][2]string{
		{"https://t.example/base", "https://t.example/base/v1/tasks/1/events"}, {"https://t.example", "https://T.example:443/v1"},
		{"https://t.example", "https://t.example@evil/v1"}, {"https://t.example/a", "https://t.example/a/../b"}, {"http://h", "http://h//evil/x"},
		{"https://t.example", "https://t.example\\@evil/"}, {"https://t.example", "https://t.example/%2e%2e/x"}, {"http://[::1]", "http://[::1]:80/x"},
		{"https://t.example", "https://t.example/x?"}, {"https://t.example", "//t.example/x"}, {"https://t.example", "https://t.example/a;b"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, base, events string) {
		if worker.Within(base, events) != nil {
			return
		}
		b, err := url.Parse(base)
		if err != nil {
			t.Fatalf("%q: %v", base, err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, events, nil)
		if err != nil {
			t.Fatalf("%q: %v", events, err)
		}
		if r.URL.Scheme != b.Scheme || !strings.EqualFold(r.URL.Hostname(), b.Hostname()) || !strings.HasPrefix(r.URL.Path, strings.TrimSuffix(b.Path, "/")+"/") ||
			strings.Contains(r.URL.Path, "/../") || strings.HasSuffix(r.URL.Path, "/..") || r.URL.User != nil || r.URL.RawQuery != "" {
			t.Errorf("%q is within %q", events, base)
		}
	})
}
