package customhandler_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/adapters/azure/customhandler"
)

// FuzzRequest: whatever the host forwards, the handler sees no function key, the
// rest of the query and the body as they were sent, and at most one caller.
func FuzzRequest(f *testing.F) {
	f.Add("limit=1&code=secret&cursor=%00", "curl/8 Azure-Functions-Host/4", "{}", "0b6b4a27-6fc8-4d34-9d0e-0f1bdf8e9f53", "aad", "alice")
	f.Add("c%6fde=secret&%zz&code", "Azure-Functions-Host/4", "\x1f\x8b", "x\ny", "", "alice")
	f.Add("&&code=1&code=2&", "", "\x1f", strings.Repeat("a", 65), "a:b", "")
	f.Fuzz(func(t *testing.T, query, agent, body, id, provider, principal string) {
		r := httptest.NewRequest(http.MethodPost, "/v1/tasks", strings.NewReader(body))
		r.URL.RawQuery = query
		r.Header.Set("User-Agent", agent)
		r.Header.Set("X-Functions-Key", "secret")
		r.Header.Set("X-Azure-Functions-InvocationId", id)
		r.Header.Set("X-Ms-Client-Principal-Idp", provider)
		r.Header.Set("X-Ms-Client-Principal-Id", principal)
		s := through(t, customhandler.Door{Caller: customhandler.EasyAuth}, r)
		if s == nil {
			t.Fatal("the handler was not asked")
		}
		if s.body != body || s.Header.Get("X-Functions-Key") != "" {
			t.Errorf("%q became %q, key %q", body, s.body, s.Header.Get("X-Functions-Key"))
		}
		var kept []string
		for pair := range strings.SplitSeq(query, "&") {
			name, _, _ := strings.Cut(pair, "=")
			if plain, err := url.QueryUnescape(name); err != nil || plain != "code" {
				kept = append(kept, pair)
			}
		}
		if got := s.URL.RawQuery; got != strings.Join(kept, "&") || s.URL.Query().Has("code") {
			t.Errorf("%q became %q", query, got)
		}
		if c := s.gateway.Caller; c != "" && (provider == "" || principal == "" || c != provider+":"+principal) {
			t.Errorf("%q, %q: the caller is %q", provider, principal, c)
		}
		if len(s.gateway.RequestID) > 64 {
			t.Errorf("the id is %q", s.gateway.RequestID)
		}
	})
}
