package worker_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/core/strictjson"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/worker"
)

const (
	base   = "http://taskgate.test/stage"
	token  = "v1.eyJpZCI6IjEifQ.c2lnbmF0dXJl"
	id     = "01890a5d-ac96-774b-bcce-b302099a8057"
	parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
)

// service is a scripted taskgate on an in-memory network, so that it works
// inside a synctest bubble: it records each event, and answers as reply says.
type service struct {
	client *http.Client

	mu       sync.Mutex
	requests []request
	reply    func(n int, e task.Event) reply // n counts the events of that type, from 1
}

type request struct {
	task.Event
	after  time.Duration // since the service was started
	header http.Header
	path   string
}

// reply is an answer. The zero reply is the one to an event that takes effect.
type reply struct {
	status   int
	body     string
	header   map[string]string
	lost     bool            // the event took effect, and its answer never arrives
	withheld <-chan struct{} // answered when it is closed
}

func newService(t *testing.T, script func(n int, e task.Event) reply) *service {
	s := &service{reply: script}
	l := &memory{conns: make(chan net.Conn), closed: make(chan struct{})}
	began, count := time.Now(), map[string]int{}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		e, err := parse(body)
		if err != nil {
			t.Errorf("the service was sent %s: %v", body, err)
		}
		s.mu.Lock()
		s.requests = append(s.requests, request{e, time.Since(began), r.Header, r.URL.Path})
		count[e.Type]++
		n := count[e.Type]
		s.mu.Unlock()
		var a reply
		if s.reply != nil {
			a = s.reply(n, e)
		}
		a.write(w, r, e)
	})}
	go server.Serve(l)
	transport := &http.Transport{DialContext: l.dial}
	s.client = &http.Client{Transport: transport}
	t.Cleanup(func() { transport.CloseIdleConnections(); server.Close() })
	return s
}

// parse holds the worker to the contract's own reading of events.
func parse(body []byte) (task.Event, error) {
	if err := strictjson.Check(body); err != nil {
		return task.Event{}, err
	}
	return task.ParseEvent(body)
}

func (a reply) write(w http.ResponseWriter, r *http.Request, e task.Event) {
	if a.withheld != nil {
		select {
		case <-a.withheld:
		case <-r.Context().Done():
			return
		}
	}
	if a.lost {
		conn, _, _ := w.(http.Hijacker).Hijack()
		conn.Close()
		return
	}
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if a.body == "" {
		switch e.Type {
		case task.EventStarted, task.EventHeartbeat, task.EventProgress:
			a.body = `{"acknowledge":false,"attempt":1,"lease_until":"2026-01-01T00:00:45.000000Z","cancel_requested":false,"task":{}}`
		case task.EventFailed:
			a.body = `{"acknowledge":false,"attempt":1,"lease_until":null,"cancel_requested":false,"task":{}}`
			if !e.Retryable {
				a.body = strings.Replace(a.body, "false", "true", 1)
			}
		default:
			a.body = `{"acknowledge":true,"attempt":1,"lease_until":null,"cancel_requested":false,"task":{}}`
		}
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	w.WriteHeader(a.status)
	io.WriteString(w, a.body)
}

// problem is the reply of a problem with the kind's own acknowledge.
func problem(status int, kind task.Kind) reply {
	body, _ := json.Marshal(map[string]any{
		"type": "urn:taskgate:problem:" + string(kind), "status": status, "code": kind,
		"detail": "as scripted", "acknowledge": kind.Acknowledge(),
	})
	return reply{status: status, body: string(body)}
}

func (a reply) retryAfter(seconds string) reply {
	a.header = map[string]string{"Retry-After": seconds}
	return a
}

const cancelRequested = `{"acknowledge":false,"attempt":1,"cancel_requested":true,"task":{}}`

// events returns the types of the events so far.
func (s *service) events() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var types []string
	for _, r := range s.requests {
		types = append(types, r.Type)
	}
	return strings.Join(types, " ")
}

// last returns the latest event.
func (s *service) last() request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[len(s.requests)-1]
}

// worker returns a worker of the service with one handler, for any name.
func (s *service) worker(t *testing.T, f worker.HandlerFunc) *worker.Worker {
	return newWorker(t, worker.Config{Handler: f, EventsBase: base, Client: s.client})
}

func newWorker(t *testing.T, c worker.Config) *worker.Worker {
	c.Log = slog.New(slog.DiscardHandler)
	w, err := worker.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// message is a delivery of the task add(1, 2), changed by edit.
func message(edit ...func(*task.Message)) worker.Delivery {
	m := task.Message{
		TaskName: "add",
		Args:     []byte(`[1,2]`),
		Kwargs:   []byte(`{}`),
		Envelope: task.Envelope{
			ID: id, V: task.MessageVersion, Token: token, Traceparent: parent,
			EnqueuedAt: task.At(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
			EventsURL:  base + "/v1/tasks/" + id + "/events",
		},
	}
	for _, f := range edit {
		f(&m)
	}
	body, _ := json.Marshal(m)
	return worker.Delivery{Body: body}
}

func three(context.Context, *worker.Task) (any, error) { return 3, nil }

// memory is a listener whose connections are pipes.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case m.conns <- server:
		return client, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { m.once.Do(func() { close(m.closed) }); return nil }
func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }
