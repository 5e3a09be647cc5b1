package customhandler

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// The names that the host gives an invocation: the first when it forwards, the
// second when it proxies.
const (
	forwardedID = "X-Azure-Functions-Invocationid"
	proxiedID   = "X-Ms-Invocation-Id"
)

const idCharacters = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// invocation returns the host's id of the request, or "". It is a GUID. A longer
// value, or one with other characters, was made up by a client.
func invocation(h http.Header) string {
	for _, name := range []string{forwardedID, proxiedID} {
		if id := h.Get(name); id != "" && len(id) <= 64 && strings.Trim(id, idCharacters) == "" {
			return id
		}
	}
	return ""
}

// The two ways to send a function key. It is meant for the host: the handler must
// not log it, and the API does not know the query parameter.
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
	restoreAgent(r.Header)
	restoreCoding(r)
}

// restoreAgent removes the product that the host adds to a User-Agent, or to a
// missing one, when it forwards.
func restoreAgent(h http.Header) {
	agent := h.Get("User-Agent")
	rest, last := "", agent
	if i := strings.LastIndexByte(agent, ' '); i >= 0 {
		rest, last = agent[:i], agent[i+1:]
	}
	if !strings.HasPrefix(last, "Azure-Functions-Host/") {
		return
	}
	if h.Set("User-Agent", rest); rest == "" {
		h.Del("User-Agent")
	}
}

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

// restoreCoding sets the Content-Encoding of a compressed body, which forwarding
// drops. Without it the handler would take the body for broken JSON.
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
