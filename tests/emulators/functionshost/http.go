package functionshost

import (
	"bytes"
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// serve answers a request from outside. Only routes of HTTP functions exist outside: the path of any
// other function, to which the host itself posts, is a 404.
func (h *Host) serve(w http.ResponseWriter, r *http.Request) {
	f := h.find(r.Method, r.URL.Path)
	if f == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if !h.admits(f, r) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	h.mu.Lock()
	base := h.handler
	h.mu.Unlock()
	switch {
	case base == "":
		w.WriteHeader(http.StatusInternalServerError)
	case h.config.CustomHandler.EnableProxyingHTTPRequest: // takes precedence
		proxy(w, r, base)
	default:
		h.forward(w, r, base)
	}
}

// admits checks the key that the function's authLevel asks for; function is the default level.
// https://learn.microsoft.com/azure/azure-functions/function-keys-how-to
func (h *Host) admits(f *function, r *http.Request) bool {
	given := r.Header.Get("X-Functions-Key")
	if given == "" {
		given = r.URL.Query().Get("code")
	}
	switch strings.ToLower(f.trigger.AuthLevel) {
	case "anonymous":
		return true
	case "admin":
		return false // there is no master key here
	}
	return given != "" && (given == h.options.HostKey || given == h.options.Keys[f.name])
}

// contentHeaders cannot be set on the request itself in .NET, so the host, which tries just that,
// loses them; Content-Type and Content-Length are put back along with a body.
var contentHeaders = []string{
	"Allow", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length",
	"Content-Location", "Content-Md5", "Content-Range", "Content-Type", "Expires", "Last-Modified",
}

// forward copies the request as HttpRequestExtensions.ToHttpRequestMessage does, faults included: a
// body without Content-Length vanishes, repeated query keys are joined by commas, redirects are
// followed (.NET's default client), and the answer is buffered.
func (h *Host) forward(w http.ResponseWriter, r *http.Request, base string) {
	query := url.Values{}
	for key, values := range r.URL.Query() {
		query.Set(key, strings.Join(values, ","))
	}
	target := base + r.URL.EscapedPath()
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var body []byte
	if r.ContentLength > 0 {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return // the client went away
		}
	}
	req, err := http.NewRequestWithContext(h.ctx, r.Method, target, bytes.NewReader(body))
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	req.Host = r.Host
	req.Header = r.Header.Clone()
	for _, name := range append(contentHeaders, "Connection", "Transfer-Encoding") {
		req.Header.Del(name)
	}
	if kind := r.Header.Get("Content-Type"); kind != "" && len(body) > 0 {
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("X-Azure-Functions-InvocationId", invocationID())
	req.Header.Set("X-Azure-Functions-HostVersion", hostVersion)
	req.Header.Set("User-Agent", strings.TrimSpace(r.UserAgent()+" Azure-Functions-Host/"+hostVersion))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	for name, values := range res.Header {
		if name != "Connection" && name != "Transfer-Encoding" && name != "Content-Length" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(res.StatusCode)
	_, _ = w.Write(answer)
}

// proxy streams both ways and follows no redirect, as HttpProxyService does with YARP.
func proxy(w http.ResponseWriter, r *http.Request, base string) {
	target, err := url.Parse(base)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	p := &httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(target)
			p.Out.Host = p.In.Host
			p.Out.Header.Set("X-Ms-Invocation-Id", invocationID())
		},
	}
	p.ServeHTTP(w, r)
}

func invocationID() string { return strings.ToLower(rand.Text()) }
