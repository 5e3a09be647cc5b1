package doortest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/httpapi/doortest"
)

func TestMutantsOfResponsesAreCaught(t *testing.T) {
	eachHeader := func(change func(name string, values []string) []string) func(http.Handler) http.Handler {
		return response(func(_ *http.Request, rec *httptest.ResponseRecorder) {
			for name, values := range rec.Header() {
				rec.Header()[name] = change(name, values)
			}
		})
	}
	catch(t, []mutant{
		{"the status is lost", response(func(_ *http.Request, rec *httptest.ResponseRecorder) { rec.Code = 200 }),
			[]string{statusComesBack, concurrentKeepApart}},
		{"503 is 502", response(func(_ *http.Request, rec *httptest.ResponseRecorder) {
			if rec.Code == 503 {
				rec.Code = 502
			}
		}), []string{statusComesBack}},
		{"an answer without a status is 204", response(func(_ *http.Request, rec *httptest.ResponseRecorder) {
			if rec.Body.String() == "a handler that sets no status answers 200" {
				rec.Code = 204
			}
		}), []string{statusComesBack}},
		{"headers are lost", eachHeader(func(string, []string) []string { return nil }),
			[]string{headersComeBack, setCookiesComeBack, emptyComesBack, concurrentKeepApart}},
		{"headers are split on commas", eachHeader(func(name string, values []string) []string {
			if name == "Set-Cookie" {
				return values
			}
			return strings.Split(strings.Join(values, ","), ",")
		}), []string{headersComeBack}},
		{"the first of repeated headers is kept", eachHeader(func(name string, values []string) []string {
			if name == "Set-Cookie" {
				return values
			}
			return values[:1]
		}), []string{headersComeBack}},
		{"cookies are joined by commas", eachHeader(func(name string, values []string) []string {
			return []string{strings.Join(values, ", ")}
		}), []string{setCookiesComeBack}},
		{"the last cookie is kept", eachHeader(func(name string, values []string) []string {
			if name == "Set-Cookie" {
				return values[len(values)-1:]
			}
			return values
		}), []string{setCookiesComeBack}},
		{"cookies are merged by name", eachHeader(func(name string, values []string) []string {
			if name == "Set-Cookie" && len(values) == 3 {
				return values[1:]
			}
			return values
		}), []string{setCookiesComeBack}},
		{"a body is text", response(func(_ *http.Request, rec *httptest.ResponseRecorder) {
			rec.Body = bytes.NewBuffer(bytes.ToValidUTF8(rec.Body.Bytes(), []byte("\ufffd")))
		}), []string{bodyComesBack, largeBodyComesBack}},
		{"a body of an unknown type is base64", response(func(_ *http.Request, rec *httptest.ResponseRecorder) {
			if rec.Header().Get("Content-Type") == "application/octet-stream" && rec.Body.Len() == 1000 {
				rec.Body = bytes.NewBufferString(base64.StdEncoding.EncodeToString(rec.Body.Bytes()))
			}
		}), []string{bodyComesBack}},
		{"the last write alone is kept", func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				last := &lastWrite{ResponseWriter: w, status: 200}
				next.ServeHTTP(last, r)
				w.WriteHeader(last.status)
				_, _ = w.Write(last.body)
			})
		}, []string{bodyComesBack}},
		{"a large body is cut", response(func(_ *http.Request, rec *httptest.ResponseRecorder) {
			rec.Body.Truncate(min(rec.Body.Len(), limit-1))
		}), []string{largeBodyComesBack}},
		{"no body is null", response(func(_ *http.Request, rec *httptest.ResponseRecorder) {
			if rec.Body.Len() == 0 {
				rec.Body.WriteString("null")
			}
		}), []string{emptyComesBack}},
	})
}

// lastWrite keeps what was written last.
type lastWrite struct {
	http.ResponseWriter
	status int
	body   []byte
}

func (l *lastWrite) WriteHeader(status int) { l.status = status }
func (l *lastWrite) Write(b []byte) (int, error) {
	l.body = bytes.Clone(b)
	return len(b), nil
}

func TestMutantsOfRequestLivesAreCaught(t *testing.T) {
	recovering := func(answer func(w http.ResponseWriter, r *http.Request)) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() {
					if recover() != nil {
						answer(w, r)
					}
				}()
				next.ServeHTTP(w, r)
			})
		}
	}
	within := func(change func(context.Context) (context.Context, context.CancelFunc)) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ctx, cancel := change(r.Context())
				defer cancel()
				next.ServeHTTP(w, r.WithContext(ctx))
			})
		}
	}
	catch(t, []mutant{
		{"a panic is swallowed", recovering(func(http.ResponseWriter, *http.Request) {}), []string{panicIsBounded}},
		{"a panic after the status is swallowed", recovering(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }),
			[]string{panicIsBounded}},
		{"a panic hangs", recovering(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), []string{panicIsBounded}},
		{"nothing is served after a panic", func(next http.Handler) http.Handler {
			var mu sync.Mutex
			dead := false
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				was := dead
				mu.Unlock()
				if was {
					w.WriteHeader(502)
					return
				}
				defer func() {
					if p := recover(); p != nil {
						mu.Lock()
						dead = true
						mu.Unlock()
						panic(http.ErrAbortHandler)
					}
				}()
				next.ServeHTTP(w, r)
			})
		}, []string{panicIsBounded}},
		{"requests share their header", func(next http.Handler) http.Handler {
			var mu sync.Mutex
			var shared http.Header
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				shared = r.Header
				mu.Unlock()
				if r.Header.Get("X-Number") != "" {
					<-time.After(10 * time.Millisecond) // so that others arrive
				}
				r = r.Clone(r.Context())
				mu.Lock()
				r.Header = shared
				mu.Unlock()
				next.ServeHTTP(w, r)
			})
		}, []string{concurrentKeepApart}},
		{"the context is nobody's", within(func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.Background(), func() {}
		}), []string{contextHasDeadline, contextEnds, contextEndsClient}},
		{"the context outlives its request", within(func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		}), []string{contextEndsClient}},
		{"the context has no deadline", within(func(ctx context.Context) (context.Context, context.CancelFunc) {
			alone, cancel := context.WithCancel(context.WithoutCancel(ctx))
			stop := context.AfterFunc(ctx, cancel)
			return alone, func() { stop(); cancel() }
		}), []string{contextHasDeadline}},
		{"the deadline is passed", within(func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithDeadline(ctx, time.Now().Add(-time.Second))
		}), []string{contextHasDeadline, contextEnds}},
		{"the context has ended before", within(func(ctx context.Context) (context.Context, context.CancelFunc) {
			ended, cancel := context.WithCancel(ctx)
			cancel()
			return ended, cancel
		}), []string{contextEnds}},
		{"the deadline is a day", within(func(ctx context.Context) (context.Context, context.CancelFunc) {
			alone, cancel := context.WithTimeout(context.WithoutCancel(ctx), 24*time.Hour)
			stop := context.AfterFunc(ctx, cancel)
			return alone, func() { stop(); cancel() }
		}), []string{contextHasDeadline}},
	})
}

// A client that asks again with GET shows a body where HEAD has none.
func TestMutantThatAnswersHeadWithABodyIsCaught(t *testing.T) {
	got := failing(t, func(t *testing.T, h http.Handler) doortest.Door {
		d := plain(t, h)
		send := d.Send
		d.Send = func(ctx context.Context, r doortest.Request) (doortest.Response, error) {
			resp, err := send(ctx, r)
			if r.Method == "HEAD" {
				r.Method = "GET"
				again, _ := send(ctx, r)
				resp.Body = again.Body
			}
			return resp, err
		}
		return d
	})
	if len(got) != 1 || got[0] != emptyComesBack {
		t.Errorf("caught by %q", got)
	}
}
