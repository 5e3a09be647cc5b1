// Package rig is one side of the comparison of embedded databases: each
// candidate's main links the rig and that one database, so that the size and the
// memory of its process are the candidate's own.
//
// The unit is what an enqueue writes: a record by id and a queue entry by due
// time, both durable when Enqueue returns.
package rig

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Store is a candidate. Enqueue may be called concurrently.
type Store interface {
	Enqueue(t Task) error
	Close() error
}

// Task is a record and a queue entry of about the size that a small task has.
type Task struct {
	ID      string
	Due     int64 // microseconds
	Record  []byte
	Message []byte
}

// Result is what one run prints, as JSON.
type Result struct {
	PerSecond float64 // durable enqueues
	OpenMS    float64 // to open what is there
	IdleMiB   float64 // resident, a second after opening
}

// Main runs `load dir clients seconds`, `fill dir tasks` or `idle dir`.
func Main(open func(dir string) (Store, error)) {
	if err := run(open, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(open func(string) (Store, error), args []string) error {
	var r Result
	start := time.Now()
	s, err := open(args[1])
	if err != nil {
		return err
	}
	r.OpenMS = float64(time.Since(start).Microseconds()) / 1000
	switch args[0] {
	case "load":
		clients, seconds := atoi(args[2]), atoi(args[3])
		deadline := time.Now().Add(time.Duration(seconds) * time.Second)
		n, err := enqueue(s, clients, func(int64) bool { return time.Now().Before(deadline) })
		if err != nil {
			return err
		}
		r.PerSecond = float64(n) / float64(seconds)
	case "fill":
		tasks := int64(atoi(args[2]))
		if _, err := enqueue(s, 64, func(n int64) bool { return n <= tasks }); err != nil {
			return err
		}
	case "idle":
		debug.FreeOSMemory()
		time.Sleep(time.Second)
		if r.IdleMiB, err = resident(); err != nil {
			return err
		}
	}
	if err := s.Close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// enqueue enqueues from so many clients for as long as more says.
func enqueue(s Store, clients int, more func(n int64) bool) (int64, error) {
	var started, done atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for more(started.Add(1)) && failed.Load() == nil {
				if err := s.Enqueue(newTask()); err != nil {
					failed.Store(&err)
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return done.Load(), nil
}

func newTask() Task {
	now, id := time.Now().UnixMicro(), rand.Text()
	return Task{
		ID: fmt.Sprintf("%016x-%s", now, id[:16]), Due: now,
		Record:  fmt.Appendf(nil, `{"id":%q,"args":%q}`, id, random(400)),
		Message: fmt.Appendf(nil, `{"id":%q,"args":%q}`, id, random(300)),
	}
}

// random returns text that compresses no better than a real payload does.
func random(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// resident reads VmRSS from /proc (proc(5)).
func resident() (mib float64, err error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			return float64(atoi(f[1])) / 1024, nil
		}
	}
	return 0, fmt.Errorf("no VmRSS")
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}
