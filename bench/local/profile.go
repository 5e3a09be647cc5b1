package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// The parts of an enqueue, and the functions that they are on the stacks of. A
// sample counts for the first part that it is in.
var parts = []struct{ name, functions string }{
	{"reading and checking the body", `httpapi\.readJSON|task\.ParseRequest`},
	{"validating; building the record and the message, with its token", `task\.\(\*Service\)\.validate`},
	{"encoding the record", `embedded\.encodeRecord`},
	{"the log line", `httpapi\.\(\*Handler\)\.log`},
	{"the store: writing the memtable and waiting for the log", `embedded\.\(\*DB\)\.commit`},
	{"the store: its log with the fsync", `record\.\(\*LogWriter\)`},
	{"the store: flushing memtables, compacting", `pebble/v2\.\(\*DB\)\.(flush|compact|runCompaction)`},
	{"the rest of the store", `pebble|embedded`},
	{"encoding and writing the answer", `httpapi\.write|httpapi\.encode`},
	{"the rest of the handler", `httpapi\.`},
	{"net/http: reading requests, flushing answers", `net/http`},
	{"collecting garbage", `runtime\.gcBgMarkWorker|runtime\.bgsweep|runtime\.bgscavenge`},
	{"scheduling and the network poller", `runtime\.`},
}

// profile shows where the CPU time of an enqueue goes at c=64. The product has no
// profiler, so the same handler over the same store runs in a process that has one.
func (b *bench) profile(ctx context.Context) error {
	dir, err := os.MkdirTemp(b.dir, "profile")
	if err != nil {
		return err
	}
	file := *keep
	if file == "" {
		file = filepath.Join(dir, "cpu.pprof")
	}
	if file, err = filepath.Abs(file); err != nil {
		return err
	}
	p, err := start(dir+"/log", b.program("handler"), "embedded", dir+"/data", file)
	if err != nil {
		return err
	}
	o, err := load(ctx, p.addr, [][]byte{post(enqueue64.path, delayed)}, enqueue64.clients, enqueue64.status, max(*lasting, 3*time.Second))
	p.stop(syscall.SIGTERM)
	if err != nil {
		return err
	}
	fmt.Printf("\nWhere the CPU time goes at c=64 (%.0f tasks per second under the profiler):\n\n| | of all samples |\n|---|---|\n", o.perSecond)
	ignore := "^$"
	for _, part := range parts {
		out, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-nodecount=1000000", "-nodefraction=0", "-focus="+part.functions, "-ignore="+ignore, file).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		share := regexp.MustCompile(`([\d.]+%) of [\d.]+\w+ total`).FindSubmatch(out)
		if share == nil {
			share = [][]byte{nil, []byte("0%")}
		}
		fmt.Printf("| %s | %s |\n", part.name, share[1])
		ignore += "|" + part.functions
	}
	return nil
}
