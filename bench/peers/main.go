// Command peers measures the local binary beside the same handler with no store,
// and beside asynq and River doing the same job:
//
//	bench/run peers
//
// Candidates take turns, round by round, and the tables have the medians. Every
// candidate is a process of its own behind net/http, and takes the same request.
// Tasks are due in an hour, so that enqueueing alone is measured.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"time"
)

var (
	rounds  = flag.Int("rounds", 5, "how often each candidate is measured")
	seconds = flag.Float64("seconds", 2, "how long each measurement lasts")
	serving = flag.String("serve", "", "internal: be this candidate's server")
)

func main() {
	flag.Parse()
	run := measure
	if *serving != "" {
		run = func() error { return serve(*serving) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// A workload is one thing that is measured; only some candidates can do it.
type workload struct {
	name    string
	clients int
	perCall int // tasks in a call
	request func(c *candidate) (method, path, body string)
	by      []string
}

const payload = `{"task_name":"send_email","args":["someone@example.com","Your order has been shipped"],` +
	`"kwargs":{"order":12345678,"template":"shipped","locale":"en-GB","retries":3,"links":["https://example.com/o/12345678"]},` +
	`"metadata":{"tenant":"acme"},"delay_seconds":3600}`

var all = []string{"taskgate", "no store", "asynq", "river"}

func enqueue(*candidate) (method, path, body string) { return "POST", "/v1/tasks", payload }

var workloads = []workload{
	{"enqueue, c=1, per second", 1, 1, enqueue, all},
	{"enqueue, c=64, per second", 64, 1, enqueue, all},
	{"batch of 100, c=4, tasks per second", 4, 100, func(*candidate) (string, string, string) {
		body := `{"tasks":[` + payload
		for range 99 {
			body += "," + payload
		}
		return "POST", "/v1/tasks/batch", body + "]}"
	}, []string{"taskgate", "no store", "river"}},
	{"get, c=64, per second", 64, 1, func(c *candidate) (string, string, string) {
		return "GET", "/v1/tasks/" + c.known, ""
	}, []string{"taskgate"}},
}

func measure() error {
	candidates, stop, err := start()
	defer stop()
	if err != nil {
		return err
	}
	results := map[string]map[string][]float64{}
	for range *rounds {
		for _, w := range workloads {
			if results[w.name] == nil {
				results[w.name] = map[string][]float64{}
			}
			for _, c := range candidates {
				if !slices.Contains(w.by, c.name) {
					continue
				}
				perSecond, err := load(c, w, time.Duration(*seconds*float64(time.Second)))
				if err != nil {
					return fmt.Errorf("%s, %s: %w", c.name, w.name, err)
				}
				results[w.name][c.name] = append(results[w.name][c.name], perSecond)
			}
		}
	}
	fmt.Print("| |")
	for _, name := range all {
		fmt.Printf(" %s |", name)
	}
	fmt.Print(" ÷ no store | ÷ asynq | ÷ river |\n|---|---|---|---|---|---|---|---|\n")
	for _, w := range workloads {
		r := results[w.name]
		fmt.Printf("| %s |", w.name)
		for _, name := range all {
			fmt.Printf(" %s |", number(median(r[name])))
		}
		for _, peer := range all[1:] {
			fmt.Printf(" %s |", ratio(r["taskgate"], r[peer]))
		}
		fmt.Println()
	}
	return footprint(candidates[0])
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// ratio is the median of the rounds' own ratios, since the machine drifts.
func ratio(a, b []float64) string {
	var r []float64
	for i := range min(len(a), len(b)) {
		r = append(r, a[i]/b[i])
	}
	if len(r) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", median(r))
}

func number(v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", v)
}
