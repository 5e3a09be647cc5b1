// Command local measures the local binary beside its floor and its peers, and
// prints the tables of docs/performance.md:
//
//	bench/run local
//
// Every candidate is a process of its own, started on nothing in every round and
// the only one under load while it is measured. The candidates take turns, and
// the tables have the medians of the rounds; ratios are medians of the rounds' own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

var (
	rounds   = flag.Int("rounds", 5, "how often each candidate is measured")
	lasting  = flag.Duration("time", 1200*time.Millisecond, "how long each measurement lasts")
	stored   = flag.Int("tasks", 100_000, "tasks on disk for the restart")
	settling = flag.Duration("settle", 150*time.Second, "after a load, until memory is read; Go collects after 2 minutes at the latest")
	only     = flag.String("only", "enqueue,footprint,list,profile", "what to measure; or kills")
	killed   = flag.Int("kills", 20, "how often each contender is killed")
	under    = flag.String("fire", "", "of the kills, only this one: store or worker")
	quiet    = flag.Duration("quiet", 3*time.Minute, "after the kills, until what is done is counted; asynq takes up a dead worker's tasks after up to 2 minutes")
	keep     = flag.String("profile", "", "keep the CPU profile in this file")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench/local:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "bench-local")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil { // PostgreSQL's user goes through
		return err
	}
	b := &bench{dir: dir, worker: takesIn()}
	defer b.worker.Close()
	fmt.Println(machine(dir))
	if *only == "kills" {
		return b.kills(ctx)
	}
	if err := b.buildAll("taskgate", "handler", "with-asynq", "with-river"); err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"enqueue", b.compare}, {"profile", b.profile}, {"footprint", b.footprint}, {"list", list},
	} {
		if slices.Contains(strings.Split(*only, ","), part.name) {
			if err := errors.Join(part.do(ctx), ctx.Err()); err != nil {
				return err
			}
		}
	}
	fmt.Println("\nload average at the end:", loadAverage())
	return nil
}

// buildAll builds the product's binary as it is released, from its own module, and
// the other programs from this one.
func (b *bench) buildAll(names ...string) error {
	for _, name := range names {
		from, source := ".", "./"+name
		if name == "taskgate" {
			from, source = "../..", "./functions/local"
		}
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", b.program(name), source)
		cmd.Dir, cmd.Env = from, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

// A measure is one column.
type measure struct {
	name, path      string
	clients, status int
	tasks           float64 // in a request
}

var (
	enqueue1  = measure{"c=1", "/v1/tasks", 1, 202, 1}
	enqueue64 = measure{"c=64", "/v1/tasks", 64, 202, 1}
	batch1    = measure{"c=1", "/v1/tasks/batch", 1, 200, 100}
	batch8    = measure{"c=8", "/v1/tasks/batch", 8, 200, 100}
	get64     = measure{"c=64", "", 64, 200, 1}
)

// compare measures all candidates, round by round.
func (b *bench) compare(ctx context.Context) error {
	skipped := map[string]bool{}
	skip := func(peer string, err error) {
		fmt.Fprintf(os.Stderr, "SKIPPED: %s: %v\n", peer, err)
		skipped[peer] = true
	}
	pg := filepath.Join(b.dir, "postgres")
	err := os.Mkdir(pg, 0o700)
	if err == nil {
		b.postgres, err = startPostgres(pg)
	}
	if err != nil {
		skip(river, err)
		skip(river+", InsertManyFast", err)
	}
	defer func() { b.postgres.stop(syscall.SIGQUIT) }() // at once: nothing in it is wanted
	if _, err := exec.LookPath("redis-server"); err != nil {
		skip(asynq, err)
	}
	r := results{}
	for round := range *rounds {
		for i := range candidates {
			c := candidates[(i+round)%len(candidates)] // nobody always follows the same one
			if skipped[c.name] {
				continue
			}
			dir, err := os.MkdirTemp(b.dir, "fresh")
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "round %d: %s\n", round+1, c.name)
			err = b.turn(ctx, dir, c, func(p *process) error { return r.measure(ctx, c, p) })
			if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
				return err
			}
		}
	}
	r.print()
	return nil
}

// measure makes one candidate's measurements of one round.
func (r results) measure(ctx context.Context, c candidate, p *process) error {
	one := func(m measure, requests ...[]byte) error {
		o, err := load(ctx, p.addr, requests, m.clients, m.status, *lasting)
		if err == nil {
			o.perSecond *= m.tasks
			r[key{c.name, m}] = append(r[key{c.name, m}], o)
		}
		return err
	}
	if c.enqueue != "" {
		for _, m := range []measure{enqueue1, enqueue64} {
			if err := one(m, post(m.path, c.enqueue)); err != nil {
				return err
			}
		}
	}
	if c.batch {
		answer, err := once(p.addr, post(batch1.path, aHundred), batch1.status)
		if err != nil || strings.Contains(string(answer), `"problem"`) {
			return fmt.Errorf("a batch: %w %s", err, answer)
		}
		for _, m := range []measure{batch1, batch8} {
			if err := one(m, post(m.path, aHundred)); err != nil {
				return err
			}
		}
	}
	if c.get != nil {
		requests, err := c.get(p)
		if err != nil {
			return err
		}
		return one(get64, requests...)
	}
	return nil
}
