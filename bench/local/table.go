package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// key is one cell: a candidate and what is measured of it.
type key struct {
	candidate string
	measure   measure
}

// results are the rounds of each cell.
type results map[key][]outcome

func (r results) print() {
	fmt.Print("\nDurable enqueue of one task, tasks per second (least – most of the rounds):\n\n")
	fmt.Println("| | c=1 | p50, µs | ÷ asynq | c=64 | p99, ms | ÷ asynq | ÷ no store |\n|---|---|---|---|---|---|---|---|")
	for _, c := range candidates {
		one, many := r[key{c.name, enqueue1}], r[key{c.name, enqueue64}]
		if one == nil {
			continue
		}
		fmt.Printf("| %s | %s | %.0f | %s | %s | %.1f | %s | %s |\n", c.name,
			rates(one), median(one, func(o outcome) float64 { return float64(o.p50.Microseconds()) }), r.ratio(c.name, asynq, enqueue1),
			rates(many), median(many, func(o outcome) float64 { return float64(o.p99.Microseconds()) / 1000 }), r.ratio(c.name, asynq, enqueue64),
			r.ratio(c.name, noStore, enqueue64))
	}
	fmt.Print("\nBatches of 100, tasks per second:\n\n| | c=1 | ÷ River | c=8 | ÷ River |\n|---|---|---|---|---|\n")
	for _, c := range candidates {
		if one, many := r[key{c.name, batch1}], r[key{c.name, batch8}]; one != nil {
			fmt.Printf("| %s | %s | %s | %s | %s |\n", c.name, rates(one), r.ratio(c.name, river, batch1), rates(many), r.ratio(c.name, river, batch8))
		}
	}
	fmt.Print("\nGET of a finished task, per second:\n\n| | c=64 | p99, ms | ÷ no store |\n|---|---|---|---|\n")
	for _, c := range candidates {
		if many := r[key{c.name, get64}]; many != nil {
			fmt.Printf("| %s | %s | %.1f | %s |\n", c.name, rates(many),
				median(many, func(o outcome) float64 { return float64(o.p99.Microseconds()) / 1000 }), r.ratio(c.name, noStore, get64))
		}
	}
}

func perSecond(o outcome) float64 { return o.perSecond }

// rates shows a cell's median, and how far its rounds lie apart.
func rates(rounds []outcome) string {
	var all []float64
	for _, o := range rounds {
		all = append(all, o.perSecond)
	}
	return fmt.Sprintf("%.0f (%.0f – %.0f)", median(rounds, perSecond), slices.Min(all), slices.Max(all))
}

// ratio is the median of what the rounds say, each of which met the same noise.
func (r results) ratio(of, to string, m measure) string {
	a, b := r[key{of, m}], r[key{to, m}]
	if len(a) == 0 || len(a) != len(b) {
		return "–"
	}
	var ratios []float64
	for i := range a {
		ratios = append(ratios, a[i].perSecond/b[i].perSecond)
	}
	return fmt.Sprintf("%.2f", middle(ratios))
}

func median(rounds []outcome, of func(outcome) float64) float64 {
	var all []float64
	for _, o := range rounds {
		all = append(all, of(o))
	}
	return middle(all)
}

func middle(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// machine says where this runs, and warns where a sync would cost nothing.
func machine(dir string) string {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err == nil && fs.Type == 0x01021994 { // TMPFS_MAGIC, statfs(2)
		fmt.Fprintf(os.Stderr, "WARNING: %s is in memory, where a sync costs nothing: set TMPDIR to a disk\n", dir)
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d cores, Linux %s, %s/%s, %s; load average at the start: %s", runtime.NumCPU(),
		strings.TrimSpace(string(kernel)), runtime.GOOS, runtime.GOARCH, runtime.Version(), loadAverage())
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	f := strings.Fields(string(text) + " ? ? ?")
	return strings.Join(f[:3], " ")
}
