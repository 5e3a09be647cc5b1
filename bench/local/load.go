package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// warmUp is the part of every load, before what is measured.
const warmUp = 300 * time.Millisecond

// outcome is what one load came to.
type outcome struct {
	perSecond float64 // requests
	p50, p99  time.Duration
}

// load sends requests over keep-alive connections, one after the other on each,
// and takes the requests in turn. Every answer must have the status. The client
// is small on purpose: it shares the machine with what it measures.
func load(ctx context.Context, addr string, requests [][]byte, clients, status int, d time.Duration) (outcome, error) {
	begin := time.Now().Add(warmUp)
	end := begin.Add(d)
	took := make([][]time.Duration, clients)
	errs := make(chan error, clients)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			c, err := dial(addr)
			if err != nil {
				errs <- err
				return
			}
			defer c.conn.Close()
			stop := context.AfterFunc(ctx, func() { c.conn.Close() })
			defer stop()
			for n := i; ; n++ {
				sent := time.Now()
				if sent.After(end) {
					return
				}
				if _, err := c.do(requests[n%len(requests)], status); err != nil {
					errs <- err
					return
				}
				if now := time.Now(); now.After(begin) && now.Before(end) {
					took[i] = append(took[i], now.Sub(sent))
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-errs:
		return outcome{}, err
	default:
	}
	times := slices.Concat(took...)
	if len(times) == 0 {
		return outcome{}, fmt.Errorf("no answer within %v", d)
	}
	slices.Sort(times)
	return outcome{float64(len(times)) / d.Seconds(), times[len(times)/2], times[len(times)*99/100]}, nil
}

// connection is one keep-alive connection.
type connection struct {
	conn net.Conn
	in   *bufio.Reader
	body bytes.Buffer
}

func dial(addr string) (*connection, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &connection{conn: conn, in: bufio.NewReaderSize(conn, 16<<10)}, nil
}

// do sends a request and returns the answer's body, until the next call.
func (c *connection) do(request []byte, status int) ([]byte, error) {
	if _, err := c.conn.Write(request); err != nil {
		return nil, err
	}
	line, err := c.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	got, _, _ := strings.Cut(strings.TrimPrefix(line, "HTTP/1.1 "), " ")
	length := int64(-1)
	for {
		header, err := c.in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(header)) == 0 {
			break
		}
		if value, ok := bytes.CutPrefix(header, []byte("Content-Length: ")); ok { // as net/http writes it
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64); err != nil {
				return nil, err
			}
		}
	}
	if length < 0 {
		return nil, fmt.Errorf("an answer without Content-Length: %s", line)
	}
	c.body.Reset()
	if _, err := io.CopyN(&c.body, c.in, length); err != nil {
		return nil, err
	}
	if got != strconv.Itoa(status) {
		return nil, fmt.Errorf("%s%s", line, c.body.Bytes())
	}
	return c.body.Bytes(), nil
}

// post and get render requests.
func post(path, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

func get(path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
}

// once makes one request on a connection of its own.
func once(addr string, request []byte, status int) ([]byte, error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	defer c.conn.Close()
	return c.do(request, status)
}
