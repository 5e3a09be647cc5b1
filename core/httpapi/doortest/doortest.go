// Package doortest tests the contract of a front door. A front door is everything
// between a client and an http.Handler. The handler must get the request that the
// client sent, and the client must get the response that the handler wrote.
//
// The suite has tests itself: the mutants in this package's tests are doors with one
// defect each, and the suite must find each defect. For that, a case returns an
// error instead of failing a test.
package doortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"
)

// Request is what a client sends.
type Request struct {
	Method  string
	Target  string // path and query, escaped as in the request line
	Header  http.Header
	Body    []byte // nil = none
	Chunked bool   // the body is sent without a Content-Length
}

// Response is what a client receives.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Door is a front door that serves a handler, and the properties of that door.
type Door struct {
	// Send sends a request to the door as a real client does. It returns the
	// response that the client would get, and does not follow redirects. It returns
	// when ctx ends. It may be called concurrently.
	Send func(ctx context.Context, r Request) (Response, error)

	// Gateway returns, as text, what the door tells the handler about the platform
	// by the request's context; nil = nothing.
	Gateway func(ctx context.Context) string

	// Limit is the size of the largest request body, in bytes, that the door must
	// pass on. The largest response is a little larger. 0 = 4 MiB, which is the
	// service's largest request.
	Limit int

	// Patience is how long the suite waits for the answer after a panic, and for
	// the end of a context; 0 = 5 seconds.
	Patience time.Duration

	// Deadline is true if the door sets a deadline for each request's context.
	Deadline bool
	// Disconnects is true if the door notices that a client has disconnected.
	Disconnects bool
	// JoinsQuery is true if the platform joins the values of a repeated query key
	// by commas.
	JoinsQuery bool
	// LosesChunked is true if the platform loses a body without a Content-Length.
	LosesChunked bool
}

// Open starts a door in front of the handler.
type Open func(http.Handler) Door

// Case checks one rule of the contract.
type Case struct {
	Name string
	// Check returns ErrInapplicable if the door's properties exempt the door.
	Check func(context.Context, Open) error
}

// ErrInapplicable is the error of a case that does not apply to the door.
var ErrInapplicable = errors.New("does not apply")

// caseTime is the maximum time of one case. If a door hangs, the case fails and the
// suite continues.
const caseTime = time.Minute

// Run checks each case as a subtest. It calls open for each case; open must stop
// the door by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T, h http.Handler) Door) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), caseTime)
			defer cancel()
			err := c.Check(ctx, func(h http.Handler) Door { return open(t, h) })
			if errors.Is(err, ErrInapplicable) {
				t.Skip(err)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// Cases returns all cases of the contract.
func Cases() []Case { return slices.Concat(requestCases, bodyCases, responseCases, lifeCases) }

func inapplicable(why string) error { return fmt.Errorf("%w: %s", ErrInapplicable, why) }

// Client returns a [Door.Send] that sends requests over HTTP to a base URL such as
// "http://127.0.0.1:8080". It does not follow redirects or decode bodies.
func Client(base string) func(context.Context, Request) (Response, error) {
	client := &http.Client{
		Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, r Request) (Response, error) {
		var body io.Reader
		if r.Body != nil {
			body = bytes.NewReader(r.Body)
		}
		if r.Chunked {
			body = io.MultiReader(body) // hides the length from net/http
		}
		req, err := http.NewRequestWithContext(ctx, r.Method, base+r.Target, body)
		if err != nil {
			return Response{}, err
		}
		for name, values := range r.Header {
			req.Header[name] = slices.Clone(values)
		}
		resp, err := client.Do(req)
		if err != nil {
			return Response{}, err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		return Response{resp.StatusCode, resp.Header, answer}, err
	}
}

// seen is the request that a handler got.
type seen struct {
	*http.Request
	body    []byte
	bodyErr error
	gateway string
}

// arrives sends a request and returns the request that the handler got. The handler
// answers 200.
func arrives(ctx context.Context, open Open, r Request) (seen, error) {
	saw := make(chan seen, 10)
	var door Door
	door = open(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := seen{Request: r}
		if r.Body == nil {
			s.bodyErr = errors.New("the request's Body is nil")
		} else {
			s.body, s.bodyErr = io.ReadAll(r.Body)
		}
		if door.Gateway != nil {
			s.gateway = door.Gateway(r.Context())
		}
		saw <- s
		fmt.Fprint(w, "ok")
	}))
	resp, err := door.Send(ctx, r)
	if err != nil {
		return seen{}, fmt.Errorf("%s %s: %w", r.Method, r.Target, err)
	}
	select {
	case s := <-saw:
		return s, nil
	default:
		return seen{}, fmt.Errorf("%s %s was answered %d, but the handler did not get the request", r.Method, r.Target, resp.Status)
	}
}

// answered sends one request to a door in front of handle and returns the response.
func answered(ctx context.Context, open Open, method string, handle http.HandlerFunc) (Response, error) {
	resp, err := open(handle).Send(ctx, Request{Method: method, Target: "/v1/tasks"})
	if err != nil {
		return Response{}, fmt.Errorf("%s: %w", method, err)
	}
	return resp, nil
}
