package doortest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestMutantsOfRequestsAreCaught(t *testing.T) {
	query := func(change func(q url.Values)) func(http.Handler) http.Handler {
		return request(func(r *http.Request) {
			q := r.URL.Query()
			change(q)
			r.URL.RawQuery = q.Encode()
		})
	}
	catch(t, []mutant{
		{"HEAD is GET", request(func(r *http.Request) {
			if r.Method == "HEAD" {
				r.Method = "GET"
			}
		}), []string{methodArrives}},
		{"the path is unescaped", request(func(r *http.Request) { r.URL.RawPath = "" }), []string{pathArrives}},
		{"the path is escaped twice", request(func(r *http.Request) { r.URL.Path, r.URL.RawPath = r.URL.EscapedPath(), "" }),
			[]string{pathArrives}},
		{"the path is cleaned", request(func(r *http.Request) { r.URL.Path = path.Clean(r.URL.Path) }), []string{pathArrives}},
		{"a plus in the path is a space", request(func(r *http.Request) { r.URL.Path = strings.ReplaceAll(r.URL.Path, "+", " ") }),
			[]string{pathArrives}},
		{"the query is lost", request(func(r *http.Request) { r.URL.RawQuery = "" }),
			[]string{queryArrives, repeatedQueryArrives, concurrentKeepApart}},
		{"the query is unescaped twice", request(func(r *http.Request) {
			if once, err := url.QueryUnescape(r.URL.RawQuery); err == nil {
				r.URL.RawQuery = once
			}
		}), []string{queryArrives}},
		{"query values are split on commas", query(func(q url.Values) {
			for k, v := range q {
				q[k] = strings.Split(strings.Join(v, ","), ",")
			}
		}), []string{queryArrives, repeatedQueryArrives}},
		{"repeated query keys are joined", query(func(q url.Values) {
			for k, v := range q {
				q.Set(k, strings.Join(v, ","))
			}
		}), []string{repeatedQueryArrives}},
		{"the last of repeated query keys is kept", query(func(q url.Values) {
			for k, v := range q {
				q[k] = v[len(v)-1:]
			}
		}), []string{repeatedQueryArrives}},
		{"empty query values are dropped", query(func(q url.Values) {
			for k, v := range q {
				if v[0] == "" {
					q.Del(k)
				}
			}
		}), []string{queryArrives}},
		{"headers are split on commas", request(func(r *http.Request) {
			for k, v := range r.Header {
				r.Header[k] = strings.Split(strings.Join(v, ","), ",")
			}
		}), []string{headersArrive}},
		{"header names are lower case", request(func(r *http.Request) {
			for k, v := range r.Header {
				delete(r.Header, k)
				r.Header[strings.ToLower(k)] = v
			}
		}), []string{headersArrive, repeatedHeaders, cookiesArrive, concurrentKeepApart}},
		{"the gateway keeps Authorization", request(func(r *http.Request) { r.Header.Del("Authorization") }), []string{headersArrive}},
		{"the last of repeated headers is kept", request(func(r *http.Request) {
			for k, v := range r.Header {
				r.Header[k] = v[len(v)-1:]
			}
		}), []string{repeatedHeaders, cookiesArrive}},
		{"repeated headers are out of order", request(func(r *http.Request) {
			if v := r.Header["X-Many"]; len(v) > 1 {
				v[0], v[1] = v[1], v[0]
			}
		}), []string{repeatedHeaders}},
		{"cookies are joined by commas", request(func(r *http.Request) {
			if v := r.Header["Cookie"]; v != nil {
				r.Header.Set("Cookie", strings.Join(v, ", "))
			}
		}), []string{cookiesArrive}},
		{"cookies are dropped", request(func(r *http.Request) { r.Header.Del("Cookie") }), []string{cookiesArrive}},
		{"X-Forwarded-Host is trusted", request(func(r *http.Request) {
			if h := r.Header.Get("X-Forwarded-Host"); h != "" {
				r.Host = h
			}
		}), []string{claimsChangeNothing}},
		{"X-Forwarded-Proto is trusted", request(func(r *http.Request) { r.URL.Scheme = r.Header.Get("X-Forwarded-Proto") }),
			[]string{claimsChangeNothing}},
		{"X-Original-Url is trusted", request(func(r *http.Request) {
			if p := r.Header.Get("X-Original-Url"); p != "" {
				r.URL.Path = p
			}
		}), []string{claimsChangeNothing}},
		{"X-Http-Method-Override is trusted", request(func(r *http.Request) {
			if m := r.Header.Get("X-Http-Method-Override"); m != "" {
				r.Method = m
			}
		}), []string{claimsChangeNothing}},
		{"a header spoofs the gateway", request(func(r *http.Request) {
			if c := r.Header.Get("X-Golambdaproxy-Apigw-Context"); c != "" {
				*r = *r.WithContext(context.WithValue(r.Context(), gatewayKey{}, c))
			}
		}), []string{claimsChangeNothing}},
	})
}

func TestMutantsOfBodiesAreCaught(t *testing.T) {
	catch(t, []mutant{
		{"a body without a length is lost", body(func(r *http.Request, b []byte) []byte {
			if r.ContentLength < 0 {
				return nil
			}
			return b
		}), []string{chunkedBodyArrives}},
		{"a body is text", body(func(_ *http.Request, b []byte) []byte { return bytes.ToValidUTF8(b, []byte("\ufffd")) }),
			[]string{bodyArrives, chunkedBodyArrives, largeBodyArrives}},
		{"a body of an unknown type is base64", body(func(r *http.Request, b []byte) []byte {
			if r.Header.Get("Content-Type") == "application/octet-stream" {
				return []byte(base64.StdEncoding.EncodeToString(b))
			}
			return b
		}), []string{bodyArrives}},
		{"what looks like base64 is decoded", body(func(_ *http.Request, b []byte) []byte {
			if decoded, err := base64.StdEncoding.DecodeString(string(b)); err == nil && len(b) < 100 {
				return decoded
			}
			return b
		}), []string{bodyArrives}},
		{"a byte order mark is dropped", body(func(_ *http.Request, b []byte) []byte { return bytes.TrimPrefix(b, []byte("\ufeff")) }),
			[]string{bodyArrives}},
		{"space at the end is dropped", body(func(_ *http.Request, b []byte) []byte { return bytes.TrimRight(b, "\r\n") }),
			[]string{bodyArrives}},
		{"a large body is cut", body(func(_ *http.Request, b []byte) []byte { return b[:min(len(b), limit-1)] }),
			[]string{largeBodyArrives}},
		{"an empty body is nil", request(func(r *http.Request) {
			if r.ContentLength == 0 {
				r.Body = nil
			}
		}), []string{emptyBodyArrives}},
		{"an empty body is an object", body(func(r *http.Request, b []byte) []byte {
			if len(b) == 0 {
				return []byte("{}")
			}
			return b
		}), []string{emptyBodyArrives}},
	})
}
