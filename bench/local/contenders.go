package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// contender is a queue that is killed: its store with the front door before it, or
// its worker.
type contender struct {
	name string
	open func(s *site) error // says how the parts start
}

// site is one contender at work.
type site struct {
	*bench
	dir, ledger string
	front       atomic.Value // the front door's host:port
	store       func() ([]*process, error)
	worker      func() (*process, error) // nil = it is in the store's process

	running []*process
	working *process
}

var contenders = []contender{
	{taskgate, func(s *site) error {
		port, workerPort := freePort(), freePort()
		s.store = func() ([]*process, error) {
			p, err := startWith(s.log(), []string{"TASKGATE_DATA=" + s.dir + "/data",
				"TASKGATE_ADDR=127.0.0.1:" + port, "TASKGATE_WORKER_URL=http://127.0.0.1:" + workerPort}, s.program("taskgate"))
			return []*process{p}, err
		}
		s.worker = func() (*process, error) {
			return start(s.log(), s.program("with-taskgate"), workerPort, "http://127.0.0.1:"+port, s.ledger)
		}
		return nil
	}},
	{asynq, asynqOn("always")},
	{"asynq, Redis with appendfsync everysec", asynqOn("everysec")},
	{"goqite, SQLite with synchronous=FULL", func(s *site) error {
		s.store = func() ([]*process, error) {
			p, err := start(s.log(), s.program("with-goqite"), s.dir, s.ledger)
			return []*process{p}, err
		}
		return nil
	}},
	{river, func(s *site) error {
		pg, port := filepath.Join(s.dir, "postgres"), freePort()
		if err := os.Mkdir(pg, 0o700); err != nil {
			return err
		}
		if err := makePostgres(pg); err != nil {
			return err
		}
		url := postgresURL(&process{addr: "127.0.0.1:" + port})
		s.store = func() ([]*process, error) {
			server, err := runPostgres(pg, port)
			if err != nil {
				return nil, err
			}
			front, err := start(s.log(), s.program("with-river"), url, "keep")
			return []*process{server, front}, err
		}
		s.worker = func() (*process, error) { return unwatched(s.log(), s.program("with-river"), url, "work", s.ledger) }
		return nil
	}},
}

func asynqOn(fsync string) func(s *site) error {
	return func(s *site) error {
		port := freePort()
		s.store = func() ([]*process, error) {
			redis, err := startRedis(s.dir, port, fsync)
			if err != nil {
				return nil, err
			}
			front, err := start(s.log(), s.program("with-asynq"), redis.addr)
			return []*process{redis, front}, err
		}
		s.worker = func() (*process, error) {
			return unwatched(s.log(), s.program("with-asynq"), "127.0.0.1:"+port, s.ledger)
		}
		return nil
	}
}

var logs atomic.Int64

// log returns the name of a new log, so that none is overwritten by a restart.
func (s *site) log() string { return fmt.Sprintf("%s/log-%d", s.dir, logs.Add(1)) }

func (s *site) startStore() (err error) {
	s.running, err = s.store()
	if err == nil {
		s.front.Store(s.running[len(s.running)-1].addr)
	}
	return err
}

func (s *site) startWorker() (err error) {
	if s.worker != nil {
		s.working, err = s.worker()
	}
	return err
}

// killStore kills the store and its front door, the store first, and starts them again.
func (s *site) killStore() error {
	for _, p := range s.running {
		p.killAll()
	}
	return s.startStore()
}

// killWorker kills the worker, or what has it inside, and starts it again.
func (s *site) killWorker() error {
	if s.worker == nil {
		return s.killStore()
	}
	s.working.killAll()
	return s.startWorker()
}

func (s *site) stop() {
	for _, p := range append(s.running, s.working) {
		p.killAll()
	}
}

// unwatched starts a process that says nothing when it is there.
func unwatched(logFile, name string, args ...string) (*process, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	return &process{cmd: cmd}, cmd.Start()
}

// killAll kills a process and its children at once, and waits until all are gone.
func (p *process) killAll() {
	if p == nil {
		return
	}
	pid := p.cmd.Process.Pid
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	p.stop(syscall.SIGKILL)
	for _, child := range strings.Fields(string(children)) {
		var c int
		if _, err := fmt.Sscan(child, &c); err != nil {
			continue
		}
		_ = syscall.Kill(c, syscall.SIGKILL)
		for syscall.Kill(c, 0) == nil && !zombie(c) {
			time.Sleep(time.Millisecond)
		}
	}
}

// zombie reports whether a process is dead and only not yet waited for: its
// parent is, and whoever inherited it may take its time.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z")
}
