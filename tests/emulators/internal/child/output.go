package child

import (
	"context"
	"errors"
	"strings"
	"sync"
)

// ErrEnded is what Await answers when the process ended without saying what was awaited.
var ErrEnded = errors.New("the process ended")

// Output collects what one or more processes print, and lets a test wait for a line instead of
// sleeping. The zero value is ready; it may be used by several goroutines.
type Output struct {
	mu     sync.Mutex
	text   strings.Builder
	closed bool
	change chan struct{} // closed and replaced at each write
}

// Write appends p; it never fails.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	o.wake()
	return len(p), nil
}

// open makes Await wait again, for the next process.
func (o *Output) open() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = false
}

func (o *Output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.wake()
}

// Reset forgets the text, before a process is started again.
func (o *Output) Reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Reset()
}

func (o *Output) wake() {
	if o.change != nil {
		close(o.change)
		o.change = nil
	}
}

// String is everything printed so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Await returns the first complete line that contains want, without its line feed. It fails with
// ErrEnded if the process ends first, or with the context's error.
func (o *Output) Await(ctx context.Context, want string) (string, error) {
	for {
		line, closed, change := o.find(want)
		if line != "" {
			return line, nil
		}
		if closed {
			return "", ErrEnded
		}
		select {
		case <-change:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func (o *Output) find(want string) (line string, closed bool, change <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for l := range strings.Lines(o.text.String()) {
		if strings.HasSuffix(l, "\n") && strings.Contains(l, want) {
			return strings.TrimRight(l, "\r\n"), false, nil
		}
	}
	if o.change == nil {
		o.change = make(chan struct{})
	}
	return "", o.closed, o.change
}
