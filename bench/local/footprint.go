package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
)

// startUp is how long a fresh process is left alone until its memory is read.
const startUp = 5 * time.Second

// footprint measures the memory of an idle process and the time of a restart.
func (b *bench) footprint(ctx context.Context) error {
	dir, err := os.MkdirTemp(b.dir, "footprint")
	if err != nil {
		return err
	}
	fmt.Print("\nMemory of the idle process, MiB:\n\n| | VmRSS | Pss | of it anonymous |\n|---|---|---|---|\n")
	p, err := b.taskgate(dir)
	if err != nil {
		return err
	}
	defer func() { p.stop(syscall.SIGKILL) }()
	if err := idle(ctx, p, "fresh", startUp); err != nil {
		return err
	}
	if _, err := b.fill(ctx, p, *stored); err != nil {
		return err
	}
	if err := idle(ctx, p, fmt.Sprintf("%v after %d tasks came in", *settling, *stored), *settling); err != nil {
		return err
	}
	var healthy, read []float64
	for range *rounds {
		id, err := b.fill(ctx, p, 5000) // so that there is a log to replay
		if err != nil {
			return err
		}
		p.stop(syscall.SIGKILL)
		var h, r time.Duration
		if p, h, r, err = b.restart(dir, id); err != nil {
			return err
		}
		healthy, read = append(healthy, float64(h.Microseconds())/1000), append(read, float64(r.Microseconds())/1000)
	}
	if err := idle(ctx, p, fmt.Sprintf("restarted with %d tasks on disk", *stored), startUp); err != nil {
		return err
	}
	fmt.Printf("\nRestart after kill -9 with %d tasks on disk, median of %d: %.0f ms from exec to the first 200 of /healthz, %.0f ms to the first GET of a task.\n",
		*stored, *rounds, middle(healthy), middle(read))
	return nil
}

// fill has tasks accepted, by batches, and returns the id of one.
func (b *bench) fill(ctx context.Context, p *process, tasks int) (id string, err error) {
	var answer []byte
	for range (tasks + 99) / 100 {
		if answer, err = once(p.addr, post("/v1/tasks/batch", aHundred), 200); err != nil {
			return "", err
		}
	}
	var accepted struct {
		Items []struct {
			Task struct {
				ID string `json:"id"`
			} `json:"task"`
		} `json:"items"`
	}
	if err := json.Unmarshal(answer, &accepted); err != nil {
		return "", err
	}
	return accepted.Items[0].Task.ID, ctx.Err()
}

// restart starts the binary on what is in dir, and times its first answers.
func (b *bench) restart(dir, id string) (p *process, healthy, read time.Duration, err error) {
	addr := "127.0.0.1:" + freePort()
	cmd := exec.Command(b.program("taskgate"))
	cmd.Env = []string{"TASKGATE_DATA=" + dir + "/data", "TASKGATE_ADDR=" + addr}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, 0, 0, err
	}
	p = &process{addr: addr, cmd: cmd}
	for {
		_, err := once(addr, get("/healthz"), 200)
		var refused *net.OpError
		if err == nil {
			break
		}
		if !errors.As(err, &refused) || time.Since(began) > time.Minute {
			return p, 0, 0, err
		}
		time.Sleep(500 * time.Microsecond)
	}
	healthy = time.Since(began)
	_, err = once(addr, get("/v1/tasks/"+id), 200)
	return p, healthy, time.Since(began), err
}

// idle prints a row about a process that has been left alone for a time.
func idle(ctx context.Context, p *process, what string, after time.Duration) error {
	select {
	case <-time.After(after):
	case <-ctx.Done():
		return ctx.Err()
	}
	pid := strconv.Itoa(p.cmd.Process.Pid)
	fmt.Printf("| %s", what)
	for _, f := range []struct{ file, field string }{{"status", "VmRSS"}, {"smaps_rollup", "Pss"}, {"smaps_rollup", "Pss_Anon"}} {
		text, err := os.ReadFile(filepath.Join("/proc", pid, f.file)) // proc(5)
		if err != nil {
			return err
		}
		m := regexp.MustCompile(`(?m)^` + f.field + `:\s+(\d+) kB`).FindSubmatch(text)
		if m == nil {
			return fmt.Errorf("there is no %s in %s", f.field, f.file)
		}
		kib, _ := strconv.ParseFloat(string(m[1]), 64)
		fmt.Printf(" | %.1f", kib/1024)
	}
	fmt.Println(" |")
	return nil
}

// list runs the benchmark of the first page, which is the embedded store's own.
func list(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkListFirstPage$", "./adapters/local/embedded")
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	figure := func(unit string) string {
		m := regexp.MustCompile(`([\d.]+) ` + regexp.QuoteMeta(unit)).FindSubmatch(out)
		if m == nil {
			return "?"
		}
		return string(m[1])
	}
	fmt.Printf("\nPage 1 of the listing, in the store: %s ns at 100 tasks, %s ns at 100,000; ratio %s.\n",
		figure("ns/page@100"), figure("ns/page@100k"), figure("ratio"))
	return nil
}
