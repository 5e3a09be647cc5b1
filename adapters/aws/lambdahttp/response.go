package lambdahttp

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
)

// maxResponse is the most bytes that Lambda takes of a synchronous response.
// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const maxResponse = 6 << 20

// The codes of this package's own problems: the request could not be read, so
// nothing was done; or it was served, and the outcome is unknown.
const (
	codeMalformed = httpapi.InvalidJSON
	codeInternal  = task.Internal
)

// response is a response of payload format 2.0. Only cookies may have several
// values; those of other headers are joined.
type response struct {
	Status   int               `json:"statusCode"`
	Headers  map[string]string `json:"headers,omitempty"`
	Cookies  []string          `json:"cookies,omitempty"`
	Body     string            `json:"body"`
	IsBase64 bool              `json:"isBase64Encoded"`
}

// responseWriter collects a handler's answer as net/http would send it.
type responseWriter struct {
	header http.Header
	sent   http.Header // as it was when the status was written
	status int
	body   bytes.Buffer
}

func (w *responseWriter) Header() http.Header { return w.header }

// WriteHeader takes effect once. Informational statuses cannot be sent.
func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *responseWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if bodyless(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	return w.body.Write(p)
}

// bodyless: RFC 9110, section 6.4.1.
func bodyless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}

// render returns the response to a request with that method. If Lambda cannot carry
// it, it returns a problem that says so, and an error for the log.
func (w *responseWriter) render(method string) ([]byte, error) {
	w.WriteHeader(http.StatusOK)
	body := w.body.Bytes()
	if len(body) > 0 && w.sent.Get("Content-Type") == "" {
		w.sent.Set("Content-Type", http.DetectContentType(body))
	}
	if method == http.MethodHead {
		w.body.Reset()
	}
	answer := w.encode()
	if len(answer) <= maxResponse {
		return answer, nil
	}
	// 503 and not 500, because the handler may have done something. Repeating the
	// request does not help, so there is no Retry-After.
	detail := fmt.Sprintf("the answer to this request has %d bytes, and Lambda carries %d: ask for less, such as a listing with a smaller limit",
		len(answer), maxResponse)
	return problem(http.StatusServiceUnavailable, codeInternal, "The answer is too large", detail).encode(), fmt.Errorf("%s", detail)
}

// encode writes the response. A body that is text goes as text, or as base64 if its
// escapes would make the response too large for Lambda.
func (w *responseWriter) encode() []byte {
	body := w.body.Bytes()
	r := response{Status: w.status, Headers: map[string]string{}}
	for name, values := range w.sent {
		switch name {
		case "Set-Cookie":
			r.Cookies = values
		case "Content-Length", "Connection", "Transfer-Encoding", "Keep-Alive", "Trailer", "Upgrade":
			// the connection to the client is the gateway's
		default:
			r.Headers[name] = strings.Join(values, ",")
		}
	}
	if utf8.Valid(body) {
		r.Body = string(body)
		if text := r.json(); len(text) <= maxResponse {
			return text
		}
	}
	r.Body, r.IsBase64 = base64.StdEncoding.EncodeToString(body), true
	return r.json()
}

// json cannot fail: strings always encode, where invalid UTF-8 may be replaced. Only
// a header can have that; such a body is base64.
func (r response) json() []byte {
	b, err := json.Marshal(r, jsontext.AllowInvalidUTF8(true), json.Deterministic(true))
	if err != nil {
		panic(err)
	}
	return b
}

// problem is an answer of this package's own.
func problem(status int, code task.Kind, title, detail string) *responseWriter {
	body, err := json.Marshal(httpapi.Problem{
		Type: httpapi.ProblemType + string(code), Title: title, Status: status, Detail: detail, Code: code,
	})
	if err != nil {
		panic(err) // strings and a number
	}
	w := &responseWriter{header: http.Header{
		"Content-Type": {"application/problem+json"}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"},
	}}
	w.WriteHeader(status)
	w.body.Write(body)
	return w
}
