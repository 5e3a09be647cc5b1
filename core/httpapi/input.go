package httpapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
	"github.com/taskgate/taskgate/core/task"
)

// The maximum length of a body, in bytes.
const (
	maxBody      = 1 << 20
	maxBatchBody = 4 << 20
)

// readJSON returns the request's body after checking that it is one valid JSON text.
// The error kinds are UnsupportedMediaType, BodyTooLarge and InvalidJSON.
func readJSON(r *http.Request, limit int64) (jsontext.Value, error) {
	body, err := readBody(r, limit)
	if err != nil {
		return nil, err
	}
	return parse(body)
}

// readBody returns the body after checking that the Content-Type is JSON. An empty
// body needs no Content-Type, because curl -X POST sends none.
func readBody(r *http.Request, limit int64) ([]byte, error) {
	body, err := readAll(r, limit)
	if err != nil {
		return nil, err
	}
	if len(body) > 0 || len(r.Header.Values("Content-Type")) > 0 {
		err = checkMediaType(r.Header)
	}
	return body, err
}

func checkMediaType(h http.Header) error {
	media, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || media != jsonMedia || len(h.Values("Content-Type")) > 1 {
		return task.Errorf(UnsupportedMediaType, "Content-Type must be application/json")
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return task.Errorf(UnsupportedMediaType, "the charset must be UTF-8")
	}
	if coding := strings.Join(h.Values("Content-Encoding"), ", "); coding != "" && coding != "identity" {
		return task.Errorf(UnsupportedMediaType, "the body must not have a Content-Encoding")
	}
	return nil
}

func readAll(r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, task.Errorf(BodyTooLarge, "the body must have at most %d bytes", limit)
	case err != nil:
		return nil, &task.Error{Kind: InvalidJSON, Msg: "the body did not arrive completely", Err: err}
	}
	return body, nil
}

func parse(body []byte) (jsontext.Value, error) {
	if err := strictjson.Check(body); err != nil {
		return nil, task.Errorf(InvalidJSON, "%v", err)
	}
	return body, nil
}

// requireEmptyBody checks that the body is empty. It also accepts {}, because some
// clients always send a body.
func requireEmptyBody(r *http.Request) error {
	body, err := readBody(r, maxBody)
	if err != nil || len(body) == 0 {
		return err
	}
	v, err := parse(body)
	if err != nil {
		return err
	}
	nothing := strictjson.Object(func(string) strictjson.Field { return nil })
	if errs := nothing("", v); errs != nil {
		return &task.Error{Kind: task.InvalidTask, Msg: "the body must be empty, or {}", Fields: errs}
	}
	return nil
}

// idempotencyKey returns the request's Idempotency-Key, or "" when it has none.
// The key may be quoted (an RFC 9651 string) or bare.
func idempotencyKey(h http.Header) (string, error) {
	values := h.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := strings.TrimSpace(values[0])
	if strings.HasPrefix(key, `"`) {
		key = unquote(key)
	}
	if len(values) > 1 || !task.ValidKey(key) {
		return "", task.Errorf(InvalidHeader, "Idempotency-Key must be given once, with 1 to 255 printable ASCII characters")
	}
	return key, nil
}

// unquote returns the contents of an RFC 9651 string, or "" for any other text. Such a
// string has no escapes other than those of the quote and the backslash.
func unquote(s string) string {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' && i == len(s)-1:
			return b.String()
		case c == '"':
			return ""
		case c == '\\':
			if i++; i == len(s) || s[i] != '"' && s[i] != '\\' {
				return ""
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "" // the closing quote is missing
}

// trace returns the request's trace context
// (https://www.w3.org/TR/trace-context/#traceparent-header). It ignores a context
// that is not valid, as the standard says. It uses no regular expression, because
// each cold start would have to compile one.
func trace(h http.Header) (traceparent, tracestate, traceID string) {
	traceparent = h.Get("Traceparent")
	part := strings.SplitN(traceparent, "-", 5)
	if len(part) < 4 || !hexadecimal(part[0], 2) || part[0] == "ff" || part[0] == "00" && len(part) > 4 ||
		!hexadecimal(part[1], 32) || !hexadecimal(part[2], 16) || !hexadecimal(part[3], 2) || !printable(traceparent) ||
		strings.Trim(part[1], "0") == "" || strings.Trim(part[2], "0") == "" {
		return "", "", ""
	}
	tracestate = strings.Join(h.Values("Tracestate"), ",")
	if len(tracestate) > 512 || !printable(tracestate) {
		tracestate = ""
	}
	return traceparent, tracestate, part[1]
}

// hexadecimal reports whether s is n lower-case hexadecimal digits.
func hexadecimal(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}

// printable reports whether s is printable ASCII.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// query returns the query's parameters. Each must have a known name, must have a
// value, and must not be repeated.
func query(r *http.Request, known ...string) (map[string]string, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, task.Errorf(InvalidQuery, "the query is not well-formed")
	}
	given := make(map[string]string, len(values))
	for name, v := range values {
		switch {
		case !slices.Contains(known, name):
			return nil, task.Errorf(InvalidQuery, "%q is not a known query parameter", name)
		case len(v) > 1:
			return nil, task.Errorf(InvalidQuery, "%s is given more than once", name)
		case v[0] == "" || !utf8.ValidString(v[0]):
			return nil, task.Errorf(InvalidQuery, "%s must not be empty, and must be UTF-8", name)
		}
		given[name] = v[0]
	}
	return given, nil
}

// number reads a query parameter that must be a JSON number from low to high. If the
// parameter is absent, number returns the fallback. [strconv.ParseFloat] alone would
// also accept 1_0, +1, 0x1p4 and Infinity.
func number(given map[string]string, name string, low, high, fallback float64) (float64, error) {
	text, ok := given[name]
	if !ok {
		return fallback, nil
	}
	v := jsontext.Value(text)
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || v.Kind() != '0' || !v.IsValid() || strings.TrimSpace(text) != text || n < low || n > high {
		return 0, task.Errorf(InvalidQuery, "%s must be a number from %v to %v", name, low, high)
	}
	return n, nil
}

// oneOf checks that a query parameter is absent or has one of the values.
func oneOf(given map[string]string, name string, values ...string) error {
	if v, ok := given[name]; ok && !slices.Contains(values, v) {
		return task.Errorf(InvalidQuery, "%s must be one of: %s", name, strings.Join(values, ", "))
	}
	return nil
}

// names checks query parameters that filter by a name. A value that breaks the rule
// for names cannot match any task.
func names(given map[string]string, parameters ...string) error {
	for _, p := range parameters {
		if v, ok := given[p]; ok && !strictjson.ValidName(v, maxName) {
			return task.Errorf(InvalidQuery, "%s must have 1 to %d characters, and no control characters", p, maxName)
		}
	}
	return nil
}

const maxName = 255 // maximum characters of a task_name, queue_name or backend
