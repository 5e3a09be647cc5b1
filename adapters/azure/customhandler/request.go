package customhandler

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// The names that the host gives an invocation: the first when it forwards, the
// second when it proxies.
const (
	forwardedID = "X-Azure-Functions-Invocationid"
	proxiedID   = "X-Ms-Invocation-Id"
)

var invocationForm = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

// invocation returns the host's id of the request, or "".
func invocation(h http.Header) string {
	for _, name := range []string{forwardedID, proxiedID} {
		if id := h.Get(name); invocationForm.MatchString(id) {
			return id
		}
	}
	return ""
}

// The two ways to send a function key, which is the host's and not the
// handler's: a secret that must not be logged, and a query parameter that the
// API does not know.
// https://learn.microsoft.com/azure/azure-functions/function-keys-how-to
const (
	keyHeader    = "X-Functions-Key"
	keyParameter = "code"
)

// restore undoes what the host did to a request, as far as that can be known.
func restore(r *http.Request) {
	r.Header.Del(keyHeader)
	r.URL.RawQuery = withoutKey(r.URL.RawQuery)
	r.RequestURI = r.URL.RequestURI()
	if r.Header.Get(forwardedID) == "" {
		return
	}
	if agent := hostAgent.ReplaceAllString(r.UserAgent(), ""); agent != "" {
		r.Header.Set("User-Agent", agent)
	} else {
		r.Header.Del("User-Agent")
	}
	restoreCoding(r)
}

// hostAgent is what the host adds to a User-Agent when it forwards.
var hostAgent = regexp.MustCompile(` ?Azure-Functions-Host/\S*$`)

// withoutKey returns the query without the function key, the rest untouched.
func withoutKey(query string) string {
	if !strings.Contains(query, keyParameter) && !strings.Contains(query, "%") {
		return query
	}
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err != nil || plain != keyParameter {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "&")
}

// gzipMagic begins every gzip member, and no JSON: RFC 1952, section 2.3.1.
const gzipMagic = "\x1f\x8b"

// restoreCoding says again that a body is compressed. Forwarding drops the
// Content-Encoding, and the handler would take the body for broken JSON.
func restoreCoding(r *http.Request) {
	if r.ContentLength < int64(len(gzipMagic)) {
		return
	}
	body := bufio.NewReaderSize(r.Body, 16)
	if first, err := body.Peek(len(gzipMagic)); err == nil && string(first) == gzipMagic {
		r.Header.Set("Content-Encoding", "gzip")
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{body, r.Body}
}
