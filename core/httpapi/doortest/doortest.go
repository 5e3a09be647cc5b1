// Package doortest is the contract of a front door as a suite: whatever stands
// between a client and an http.Handler, the handler sees the request that the
// client made and the client the response that the handler gave. Each case
// returns an error, so that the suite is tested too: the mutants in this
// package's tests are doors with one defect each, and each is caught.
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
	Target  string // path and query, escaped as they are on the wire
	Header  http.Header
	Body    []byte // nil = none
	Chunked bool   // the body goes without a Content-Length
}

// Response is what a client receives.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Door is a front door that serves a handler, and what is known of it.
type Door struct {
	// Send sends a request the way a real client's reaches the door, and returns
	// its response as that client would see it, redirects included. It returns
	// when ctx ends. It may be called concurrently.
	Send func(ctx context.Context, r Request) (Response, error)

	// Gateway renders what the door tells the handler, by way of the request's
	// context, about the platform in front; nil = nothing.
	Gateway func(ctx context.Context) string

	// Limit is the largest body, in bytes, that the door must let pass, with an
	// answer that is a little larger; 0 = 4 MiB, the service's largest request.
	Limit int

	// Patience bounds how long a panic is waited for, and the end of a context;
	// 0 = 5 seconds.
	Patience time.Duration

	// Deadline is set when the door gives each request one.
	Deadline bool
	// Disconnects is set when the door learns that a client has gone away.
	Disconnects bool
	// JoinsQuery is set when the platform joins repeated query keys by commas.
	JoinsQuery bool
	// LosesChunked is set when the platform loses a body without Content-Length.
	LosesChunked bool
}

// Open serves the handler behind a door.
type Open func(http.Handler) Door

// Case is one promise of the contract.
type Case struct {
	Name string
	// Check returns ErrInapplicable when the door's own word exempts it.
	Check func(context.Context, Open) error
}

// ErrInapplicable is returned by a case from which the door is exempt.
var ErrInapplicable = errors.New("does not apply")

// caseTime bounds one case, so that a door that hangs fails and does not stop
// the suite.
const caseTime = time.Minute

// Run checks each case as a subtest, behind a door that open opens for it and
// closes by t.Cleanup.
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

// Cases returns the whole contract.
func Cases() []Case { return slices.Concat(requestCases, bodyCases, responseCases, lifeCases) }

func inapplicable(why string) error { return fmt.Errorf("%w: %s", ErrInapplicable, why) }

// Client returns a Send over HTTP to a server's base URL, such as
// "http://127.0.0.1:8080". It follows no redirects and decodes nothing.
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
			body = io.MultiReader(body) // of which net/http does not know the length
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

// seen is what a handler saw of a request.
type seen struct {
	*http.Request
	body    []byte
	bodyErr error
	gateway string
}

// arrives sends a request and returns what the handler saw, having answered 200.
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
		return seen{}, fmt.Errorf("%s %s was answered %d and has not arrived", r.Method, r.Target, resp.Status)
	}
}

// answered serves one request with handle and returns the response.
func answered(ctx context.Context, open Open, method string, handle http.HandlerFunc) (Response, error) {
	resp, err := open(handle).Send(ctx, Request{Method: method, Target: "/v1/tasks"})
	if err != nil {
		return Response{}, fmt.Errorf("%s: %w", method, err)
	}
	return resp, nil
}
