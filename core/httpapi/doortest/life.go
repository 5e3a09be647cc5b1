package doortest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

var lifeCases = []Case{
	{"a panic in the handler is answered as a failure and does not stop the door", panicIsBounded},
	{"concurrent requests do not mix", concurrentKeepApart},
	{"the context has the door's deadline", contextHasDeadline},
	{"the context ends when its request ends", contextEnds},
	{"the context ends when the client disconnects", contextEndsWithClient},
}

func (d Door) patience() time.Duration {
	if d.Patience == 0 {
		return 5 * time.Second
	}
	return d.Patience
}

// panicIsBounded checks that the client gets a 5xx or a closed connection, and never
// a success, even if the handler wrote a part of its answer before the panic.
func panicIsBounded(ctx context.Context, open Open) error {
	door := open(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/late":
			w.WriteHeader(http.StatusOK)
			fmt.Fprint(w, "half an answer")
			panic("after the status")
		case "/early":
			panic("before anything")
		}
		fmt.Fprint(w, "ok")
	}))
	for _, path := range []string{"/early", "/late", "/early"} {
		bounded, cancel := context.WithTimeout(ctx, door.patience())
		resp, err := door.Send(bounded, Request{Method: "GET", Target: path})
		late := bounded.Err()
		cancel()
		if late != nil {
			return fmt.Errorf("a panic was not answered within %v", door.patience())
		}
		if err == nil && resp.Status < 500 {
			return fmt.Errorf("a panic was answered with %d, %q", resp.Status, resp.Body)
		}
		resp, err = door.Send(ctx, Request{Method: "GET", Target: "/"})
		if err != nil || resp.Status != http.StatusOK {
			return fmt.Errorf("the request after a panic was answered with %d, %v", resp.Status, err)
		}
	}
	return nil
}

func concurrentKeepApart(ctx context.Context, open Open) error {
	door := open(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Echo", r.Header.Get("X-Number"))
		w.WriteHeader(200 + len(body)/100%4)
		fmt.Fprintf(w, "%s %s %s", r.URL.Path, r.URL.RawQuery, body)
	}))
	const n = 32
	var failed [n]error
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			number := fmt.Sprint(1000 + i)
			body := binary((i + 1) * 100)
			for j := range body {
				body[j] = byte('a' + i%26)
			}
			resp, err := door.Send(ctx, Request{Method: "POST", Target: "/v1/" + number + "?n=" + number, Header: http.Header{"X-Number": {number}}, Body: body})
			want := fmt.Sprintf("/v1/%s n=%s %s", number, number, body)
			if err == nil && (resp.Status != 200+len(body)/100%4 || resp.Header.Get("X-Echo") != number || string(resp.Body) != want) {
				err = fmt.Errorf("request %s was answered with %d, X-Echo %s, %.60q", number, resp.Status, resp.Header.Get("X-Echo"), resp.Body)
			}
			failed[i] = err
		})
	}
	close(start)
	all.Wait()
	return errors.Join(failed[:]...)
}

// contextHasDeadline checks that the deadline is within 15 minutes. No platform
// gives a request more time.
func contextHasDeadline(ctx context.Context, open Open) error {
	if !open(http.NotFoundHandler()).Deadline {
		return inapplicable("the door does not set a deadline")
	}
	type given struct {
		left time.Duration
		ok   bool
	}
	saw := make(chan given, 1)
	_, err := answered(ctx, open, "GET", func(_ http.ResponseWriter, r *http.Request) {
		deadline, ok := r.Context().Deadline()
		saw <- given{time.Until(deadline), ok}
	})
	if err != nil {
		return err
	}
	if g := <-saw; !g.ok || g.left <= 0 || g.left > 15*time.Minute {
		return fmt.Errorf("the context's deadline is in %v, set: %t", g.left, g.ok)
	}
	return nil
}

func contextEnds(ctx context.Context, open Open) error {
	saw := make(chan context.Context, 1)
	early := make(chan error, 1)
	door := open(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		early <- r.Context().Err()
		saw <- r.Context()
	}))
	if _, err := door.Send(ctx, Request{Method: "POST", Target: "/v1/tasks", Body: []byte("{}")}); err != nil {
		return err
	}
	if err := <-early; err != nil {
		return fmt.Errorf("the context ended before the handler returned: %w", err)
	}
	select {
	case <-(<-saw).Done():
		return nil
	case <-time.After(door.patience()):
		return fmt.Errorf("the context did not end within %v after its request", door.patience())
	}
}

func contextEndsWithClient(ctx context.Context, open Open) error {
	started, ended := make(chan struct{}), make(chan error, 1)
	var patience time.Duration
	door := open(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		select {
		case <-r.Context().Done():
			ended <- nil
		case <-time.After(patience):
			ended <- fmt.Errorf("the context did not end within %v after the client disconnected", patience)
		}
	}))
	if !door.Disconnects {
		return inapplicable("the door does not notice that a client disconnects")
	}
	patience = door.patience()
	client, leave := context.WithCancel(ctx)
	defer leave()
	sent := make(chan error, 1)
	go func() {
		_, err := door.Send(client, Request{Method: "GET", Target: "/v1/tasks"})
		sent <- err
	}()
	select {
	case <-started:
	case err := <-sent:
		return fmt.Errorf("the handler did not get the request: %v", err)
	}
	leave()
	return <-ended
}
