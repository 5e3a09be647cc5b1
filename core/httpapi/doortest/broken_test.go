package doortest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/httpapi/doortest"
)

// limit is small, so that hundreds of servers answer quickly.
const limit = 128 << 10

type gatewayKey struct{}

// plain is the standard library's server as a door.
func plain(t *testing.T, h http.Handler) doortest.Door {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), gatewayKey{}, "https://tasks.example")
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		h.ServeHTTP(w, r.WithContext(ctx))
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the panics
	server.Start()
	t.Cleanup(server.Close)
	return doortest.Door{
		Send: doortest.Client(server.URL),
		Gateway: func(ctx context.Context) string {
			word, _ := ctx.Value(gatewayKey{}).(string)
			return word
		},
		Limit:       limit,
		Patience:    time.Second, // much more than an answer takes; only mutants wait for it
		Deadline:    true,
		Disconnects: true,
	}
}

func TestStandardServerKeepsTheContract(t *testing.T) {
	doortest.Run(t, func(t *testing.T, h http.Handler) doortest.Door {
		d := plain(t, h)
		d.Limit, d.Patience = 0, 0
		return d
	})
}

// mutant is a door with one defect, between the server and the handler, and the
// cases that catch it.
type mutant struct {
	name   string
	defect func(next http.Handler) http.Handler
	caught []string
}

// request is a defect in what the handler sees.
func request(change func(r *http.Request)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = r.Clone(r.Context())
			change(r)
			next.ServeHTTP(w, r)
		})
	}
}

// body is a defect in the body that the handler sees.
func body(change func(r *http.Request, body []byte) []byte) func(http.Handler) http.Handler {
	return request(func(r *http.Request) {
		read, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(change(r, read)))
	})
}

// response is a defect in what the client sees: change has the whole answer.
func response(change func(r *http.Request, rec *httptest.ResponseRecorder)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			change(r, rec)
			for name, values := range rec.Header() {
				w.Header()[name] = values
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
		})
	}
}

// failing returns the names of the cases that fail behind the doors.
func failing(t *testing.T, open func(t *testing.T, h http.Handler) doortest.Door) (names []string) {
	for _, c := range doortest.Cases() {
		err := c.Check(t.Context(), func(h http.Handler) doortest.Door { return open(t, h) })
		if err != nil && !errors.Is(err, doortest.ErrInapplicable) {
			t.Logf("%s: %v", c.Name, err)
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return names
}

// catch shows that exactly the named cases fail for each mutant.
func catch(t *testing.T, mutants []mutant) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			got := failing(t, func(t *testing.T, h http.Handler) doortest.Door { return plain(t, m.defect(h)) })
			slices.Sort(m.caught)
			if !slices.Equal(got, m.caught) {
				t.Errorf("caught by:\n\t%q\nwant:\n\t%q", got, m.caught)
			}
		})
	}
}

func TestCorrectDoorPasses(t *testing.T) {
	catch(t, []mutant{
		{"without a wrapper", func(next http.Handler) http.Handler { return next }, nil},
		{"with a cloned request", request(func(*http.Request) {}), nil},
		{"with a body read ahead", body(func(_ *http.Request, b []byte) []byte { return b }), nil},
		{"with a recorded response", response(func(*http.Request, *httptest.ResponseRecorder) {}), nil},
	})
}
