// Command azure measures how long functions/azure takes from exec to listening,
// beside net/http alone: the part of a cold start on Azure Functions that is
// taskgate's. Both are built as they are deployed, and started in turns.
//
//	go run ./bench/azure [-n 200]
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	n := flag.Int("n", 200, "starts of each")
	flag.Parse()
	if err := run(*n); err != nil {
		log.Fatal(err)
	}
}

// contender is one of the binaries.
type contender struct {
	name, source string
	path         string
	took         []time.Duration
}

func run(n int) error {
	dir, err := os.MkdirTemp("", "bench-azure")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	all := []*contender{
		{name: "net/http alone", source: "./bench/azure/bare"},
		{name: "functions/azure", source: "./functions/azure"},
	}
	for i, c := range all {
		c.path = filepath.Join(dir, fmt.Sprint(i))
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", c.path, c.source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", c.source, err, out)
		}
	}
	for i := range n + 5 {
		for _, c := range all {
			took, err := start(c.path)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if i >= 5 { // the first ones warm the page cache
				c.took = append(c.took, took)
			}
		}
	}
	floor := all[0].quantile(0.5)
	fmt.Printf("%-16s %10s %10s %10s %8s %8s\n", "", "median", "p10", "p90", "ratio", "MB")
	for _, c := range all {
		info, err := os.Stat(c.path)
		if err != nil {
			return err
		}
		fmt.Printf("%-16s %10v %10v %10v %7.2f× %8.1f\n", c.name,
			c.quantile(0.5), c.quantile(0.1), c.quantile(0.9), float64(c.quantile(0.5))/float64(floor), float64(info.Size())/1e6)
	}
	return nil
}

func (c *contender) quantile(q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(c.took))
	return sorted[int(q*float64(len(sorted)-1))].Round(10 * time.Microsecond)
}

// start runs the binary until it accepts a connection. What it is told to send
// to refuses connections: that is found out after listening, and in the background.
func start(path string) (time.Duration, error) {
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	addr := probe.Addr().String()
	_ = probe.Close()
	_, port, _ := net.SplitHostPort(addr)
	var out strings.Builder
	cmd := exec.Command(path)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(settings(), "FUNCTIONS_CUSTOMHANDLER_PORT="+port)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			took := time.Since(began)
			return took, conn.Close()
		}
		if time.Since(began) > 10*time.Second {
			return 0, fmt.Errorf("does not listen: %s", &out)
		}
	}
}

// settings are a full configuration: all three targets, by connection strings.
func settings() []string {
	const bus = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=a2V5;UseDevelopmentEmulator=true"
	const storage = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:1/a"
	return []string{
		"WEBSITE_HOSTNAME=localhost",
		"TASKGATE_TOKEN_SECRETS=" + strings.Repeat("s", 32),
		"TASKGATE_API_KEYS=bench:enqueue:" + strings.Repeat("0", 64),
		"TASKGATE_COSMOS_CONNECTION_STRING=AccountEndpoint=http://127.0.0.1:1/;AccountKey=a2V5;",
		`TASKGATE_TASKS={"default":{"BACKEND":"ServiceBusQueueBackend","OPTIONS":{"SERVICEBUS_CONNECTION_STRING":"` + bus + `"}},` +
			`"topic":{"BACKEND":"ServiceBusTopicBackend","OPTIONS":{"SERVICEBUS_CONNECTION_STRING":"` + bus + `"}},` +
			`"storage":{"BACKEND":"StorageAccountQueueBackend","OPTIONS":{"STORAGE_ACCOUNT_CONNECTION_STRING":"` + storage + `"}}}`,
	}
}
