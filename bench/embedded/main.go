// Command embedded compares the databases that the local store could be built
// on, and prints the table of docs/decisions/0002-embedded-database.md:
//
//	cd bench/embedded && go run .
//
// The candidates take turns, round by round, and the table has the medians.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/taskgate/taskgate/bench/embedded/rig"
)

const (
	rounds  = 5
	seconds = 2
	tasks   = 100_000
)

var candidates = []string{"pebble", "bbolt", "sqlite"}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	tmp, err := os.MkdirTemp("", "embedded")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	for _, c := range candidates {
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(tmp, c), "./with-"+c)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", c, err, out)
		}
	}
	one, many := map[string][]float64{}, map[string][]float64{}
	for range rounds {
		for _, c := range candidates {
			for clients, into := range map[int]map[string][]float64{1: one, 64: many} {
				r, err := fresh(tmp, c, "load", strconv.Itoa(clients), strconv.Itoa(seconds))
				if err != nil {
					return err
				}
				into[c] = append(into[c], r.PerSecond)
			}
		}
	}
	fmt.Println("| | c=1, tasks/s | c=64, tasks/s | open at 100,000 tasks, ms | idle, MiB | disk, MiB | binary, MB |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, c := range candidates {
		dir := filepath.Join(tmp, "data-"+c)
		if _, err := start(tmp, c, dir, "fill", strconv.Itoa(tasks)); err != nil {
			return err
		}
		idle, err := start(tmp, c, dir, "idle")
		if err != nil {
			return err
		}
		binary, err := os.Stat(filepath.Join(tmp, c))
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.0f | %.0f | %.0f | %.1f | %.0f | %.1f |\n", c, median(one[c]), median(many[c]),
			idle.OpenMS, idle.IdleMiB, size(dir)/(1<<20), float64(binary.Size())/1e6)
	}
	return nil
}

// fresh runs a candidate on an empty directory.
func fresh(tmp, candidate, command string, args ...string) (rig.Result, error) {
	dir, err := os.MkdirTemp(tmp, "fresh")
	if err != nil {
		return rig.Result{}, err
	}
	defer os.RemoveAll(dir)
	return start(tmp, candidate, dir, command, args...)
}

func start(tmp, candidate, dir, command string, args ...string) (r rig.Result, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return r, err
	}
	cmd := exec.Command(filepath.Join(tmp, candidate), append([]string{command, dir}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w", candidate, command, err)
	}
	return r, err
}

func size(dir string) (total float64) {
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			total += float64(info.Size())
		}
	}
	return total
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
