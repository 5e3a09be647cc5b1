package faultproxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/wait"
)

// echo is a proxy in front of a server that sends back what it gets.
func echo(t *testing.T) *faultproxy.TCP {
	t.Helper()
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	return faultproxy.NewTCP(t, listener.Addr().String())
}

func connect(t *testing.T, p *faultproxy.TCP) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ping sends a byte and waits until it comes back.
func ping(conn net.Conn) error { return pingFor(conn, wait.Patience) }

// silent checks that a byte does not come back. It waits half a second.
func silent(conn net.Conn) error {
	if err := pingFor(conn, 500*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the connection is not silent: %v", err)
	}
	return nil
}

func pingFor(conn net.Conn, d time.Duration) error {
	_ = conn.SetDeadline(time.Now().Add(d))
	if _, err := conn.Write([]byte("x")); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	return err
}

func TestAStaleConnectionIsResetAtItsNextBytes(t *testing.T) {
	p := echo(t)
	old := connect(t, p)
	if err := ping(old); err != nil {
		t.Fatal(err)
	}
	p.Stale()
	if err := ping(connect(t, p)); err != nil {
		t.Errorf("a new connection: %v", err)
	}
	if err := ping(old); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want %v", err, syscall.ECONNRESET)
	}
}

func TestDroppedAndResetConnectionsEnd(t *testing.T) {
	p := echo(t)
	for want, end := range map[error]func(){io.EOF: p.Drop, syscall.ECONNRESET: p.Reset} {
		conn := connect(t, p)
		if err := ping(conn); err != nil {
			t.Fatal(err)
		}
		end()
		_ = conn.SetDeadline(time.Now().Add(wait.Patience))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	if p.Accepted() != 2 {
		t.Errorf("accepted %d", p.Accepted())
	}
}

func TestASilencedConnectionIsDeadWhileNewOnesWork(t *testing.T) {
	p := echo(t)
	old := connect(t, p)
	if err := ping(old); err != nil {
		t.Fatal(err)
	}
	p.Silence()
	if err := silent(old); err != nil {
		t.Errorf("silenced: %v", err)
	}
	if err := ping(connect(t, p)); err != nil {
		t.Errorf("new: %v", err)
	}
}

func TestADeafOrRefusingPeerRecovers(t *testing.T) {
	p := echo(t)
	p.Deafen()
	if err := silent(connect(t, p)); err != nil {
		t.Errorf("deaf: %v", err)
	}
	p.Restore(t)
	p.Repel()
	conn, err := net.Dial("tcp", p.Addr()) // which may see the reset itself
	if err == nil {
		err = ping(conn)
	}
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("repelling: %v", err)
	}
	p.Restore(t)
	p.Refuse()
	if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refusing: %v", err)
	}
	p.Restore(t)
	if err := ping(connect(t, p)); err != nil {
		t.Errorf("restored: %v", err)
	}
}

func TestABusClientSurvivesADroppedIdleConnection(t *testing.T) {
	t.Parallel()
	e := emulators.ServiceBus(t, emulators.ServiceBusConfig{Queues: map[string]emulators.BusQueue{"tasks": {}}})
	p := faultproxy.NewTCP(t, e.Addr())
	client, err := azservicebus.NewClientFromConnectionString(azureemu.ServiceBusConnectionString(p.Addr()), &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{MaxRetries: 3, RetryDelay: 20 * time.Millisecond, MaxRetryDelay: 500 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	sender, err := client.NewSender("tasks", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait.Patience)
	defer cancel()
	for _, end := range []func(){func() {}, p.Drop, p.Reset} {
		end()
		if err := sender.SendMessage(ctx, &azservicebus.Message{Body: []byte("x")}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if p.Accepted() != 3 {
		t.Errorf("%d connections, want 3", p.Accepted())
	}
}

// TestAConnectionIsHeldAtAText: before or after the server has had it.
func TestAConnectionIsHeldAtAText(t *testing.T) {
	for name, c := range map[string]struct {
		hold func(*faultproxy.TCP, string)
		want string // what the server gets
	}{
		"before": {(*faultproxy.TCP).HoldBefore, "one "},
		"after":  {(*faultproxy.TCP).HoldAfter, "one stop here "},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			got := make(chan string, 1)
			go func() {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				var all strings.Builder
				_, _ = io.Copy(io.MultiWriter(&all, conn), conn)
				got <- all.String()
			}()
			p := faultproxy.NewTCP(t, listener.Addr().String())
			c.hold(p, "stop")
			p.Watch("o")
			conn := connect(t, p)
			_ = conn.SetDeadline(time.Now().Add(wait.Patience))
			answer := make([]byte, 4)
			if _, err := conn.Write([]byte("one ")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, answer); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write([]byte("stop here ")); err != nil {
				t.Fatal(err)
			}
			faultproxy.AwaitHeld(t, 1, p.Held)
			_ = conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
			if _, err := conn.Read(answer); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("answered %q, %v", answer, err)
			}
			if n := p.Count("o"); n != 2 {
				t.Errorf("the text came %d times, want 2", n)
			}
			_ = conn.Close()
			if all := <-got; all != c.want {
				t.Errorf("the server got %q, want %q", all, c.want)
			}
		})
	}
}

// TestConnectionsBreakWhereTheScriptSays: a server that counts what arrives
// tells a request that was lost from an answer that was.
func TestConnectionsBreakWhereTheScriptSays(t *testing.T) {
	t.Parallel()
	arrived := make(chan string, 10)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				b := make([]byte, 10)
				for {
					n, err := conn.Read(b)
					if err != nil {
						return
					}
					arrived <- string(b[:n])
					_, _ = conn.Write(b[:n])
				}
			}()
		}
	}()
	p := faultproxy.NewTCP(t, listener.Addr().String())
	for name, c := range map[string]struct {
		begin   func()
		applied bool
		answer  string
		err     error
	}{
		"reset at requests": {p.ResetRequests, false, "", syscall.ECONNRESET},
		"reset at answers":  {p.ResetAnswers, true, "", syscall.ECONNRESET},
		"truncated":         {p.TruncateAnswers, true, "te", io.ErrUnexpectedEOF},
	} {
		for _, open := range []bool{true, false} {
			if !open {
				c.begin()
			}
			conn := connect(t, p)
			if open {
				c.begin()
			}
			_ = conn.SetDeadline(time.Now().Add(wait.Patience))
			_, _ = conn.Write([]byte("text"))
			got := make([]byte, 4)
			n, err := io.ReadFull(conn, got)
			if string(got[:n]) != c.answer || !errors.Is(err, c.err) {
				t.Errorf("%s: got %q, %v", name, got[:n], err)
			}
			select {
			case what := <-arrived:
				if !c.applied || what != "text" {
					t.Errorf("%s: %q arrived", name, what)
				}
			default:
				if c.applied {
					t.Errorf("%s: nothing arrived", name)
				}
			}
			p.Restore(t)
		}
	}
	p.Delay(30 * time.Millisecond)
	conn, start := connect(t, p), time.Now()
	if err := ping(conn); err != nil || time.Since(start) < 30*time.Millisecond || p.Open() == 0 {
		t.Errorf("late: %v after %v, %d open", err, time.Since(start), p.Open())
	}
	_ = conn.Close()
	for end := time.Now().Add(wait.Patience); p.Open() > 0; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are open", p.Open())
		}
	}
}
