package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// footprint restarts taskgate on what the load has left on disk, and reports
// how long that takes and what an idle process holds.
func footprint(c *candidate) error {
	batch := workloads[2]
	for stored := 0; stored < 100_000; stored += batch.perCall { // on top of what there is
		method, path, body := batch.request(c)
		if _, err := call(method, c.url+path, body); err != nil {
			return err
		}
	}
	known := c.known
	if err := c.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = c.cmd.Wait()
	begin := time.Now()
	c, err := c.restart()
	if err != nil {
		return err
	}
	if _, err := call("GET", c.url+"/v1/tasks/"+known, ""); err != nil {
		return err
	}
	fmt.Printf("\nrestart after kill -9 with more than 100,000 tasks on disk, to the first look-up: %v\n", time.Since(begin).Round(time.Millisecond))
	for _, part := range []string{"Rss", "Pss", "Pss_Anon"} {
		kib, err := memory(c.cmd.Process.Pid, part)
		if err != nil {
			return err
		}
		fmt.Printf("idle memory, %s: %.1f MiB\n", part, kib/1024)
	}
	return nil
}

func memory(pid int, part string) (kib float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	m := regexp.MustCompile(part + `:\s+(\d+) kB`).FindStringSubmatch(string(text))
	if m == nil {
		return 0, fmt.Errorf("no %s in %s", part, strings.TrimSpace(string(text)))
	}
	return strconv.ParseFloat(m[1], 64)
}
