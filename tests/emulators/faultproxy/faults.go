package faultproxy

import (
	"net"
	"net/http"
	"strconv"
	"time"
)

// Fault decides what becomes of one request. Tests may write their own.
type Fault func(*Exchange)

// Latency forwards the request d late.
func Latency(d time.Duration) Fault {
	return func(x *Exchange) {
		due := make(chan struct{})
		timer := time.AfterFunc(d, func() { close(due) })
		defer timer.Stop()
		if x.hold(due) {
			x.pass()
		}
	}
}

// HoldBefore keeps the request until release is closed, then forwards it.
func HoldBefore(release <-chan struct{}) Fault {
	return func(x *Exchange) {
		if x.hold(release) {
			x.pass()
		}
	}
}

// HoldAfter forwards the request, and keeps the answer until release is closed.
func HoldAfter(release <-chan struct{}) Fault {
	return func(x *Exchange) {
		answer, err := x.Forward()
		if err != nil {
			x.Reset()
			return
		}
		if x.hold(release) {
			x.Answer(answer)
		}
	}
}

// ResetBefore resets the connection. The request was not applied.
func ResetBefore(x *Exchange) { x.Reset() }

// ResetAfter resets the connection once upstream has answered. The request was applied.
func ResetAfter(x *Exchange) {
	_, _ = x.Forward()
	x.Reset()
}

// SilentBefore never answers. The request was not applied.
func SilentBefore(x *Exchange) { x.hold(nil) }

// SilentAfter forwards the request and never answers. The request was applied.
func SilentAfter(x *Exchange) {
	_, _ = x.Forward()
	x.hold(nil)
}

// Truncated sends the first half of the answer's body and closes the connection. The request was
// applied.
func Truncated(x *Exchange) {
	answer, err := x.Forward()
	if err != nil {
		x.Reset()
		return
	}
	for key, values := range answer.Header {
		x.w.Header()[key] = values
	}
	x.w.Header().Del("Transfer-Encoding")
	x.w.Header().Set("Content-Length", strconv.Itoa(max(len(answer.Body), 2)))
	x.w.WriteHeader(answer.Status)
	_, _ = x.w.Write(answer.Body[:len(answer.Body)/2])
	_ = http.NewResponseController(x.w).Flush()
	panic(http.ErrAbortHandler) // net/http's way to close a connection in the middle of a body
}

// Status answers with a status, headers given in pairs, and a body. The request was not applied.
func Status(status int, body string, headers ...string) Fault {
	return func(x *Exchange) {
		header := http.Header{}
		for i := 0; i+1 < len(headers); i += 2 {
			header.Set(headers[i], headers[i+1])
		}
		x.Answer(&Answer{status, header, []byte(body)})
	}
}

// Reset closes the client's connection with a TCP reset.
func (x *Exchange) Reset() {
	conn, _, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	reset(conn)
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // unsent data is discarded and a reset goes out: socket(7), SO_LINGER
	}
	_ = conn.Close()
}

// hold keeps the exchange until release is closed, and reports whether the client is still there.
func (x *Exchange) hold(release <-chan struct{}) bool {
	x.proxy.holding.Add(1)
	defer x.proxy.holding.Add(-1)
	select {
	case <-release:
		return true
	case <-x.gone():
		return false
	}
}

// gone is closed when the client has hung up or the test has ended.
func (x *Exchange) gone() <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-x.r.Context().Done():
		case <-x.proxy.closed:
		}
	}()
	return gone
}
