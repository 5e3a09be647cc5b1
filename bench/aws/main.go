// Command aws measures how long the functions take from exec to their first poll,
// beside an empty aws-lambda-go function: this is taskgate's part of a cold start on
// Lambda. All are built as they are deployed, for this machine, and started in turns.
// It also shows the size of each upload (a zip for arm64) and the memory of an idle one.
//
//	bench/aws/run [-n 200]
package main

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
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

// contender is one of the functions.
type contender struct {
	name, source string
	settings     []string
	path         string
	took         []time.Duration
	memory       int // KiB
}

func run(n int) error {
	dir, err := os.MkdirTemp("", "bench-aws")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	services := httptest.NewServer(http.NotFoundHandler()) // without latency, as the runtime API has none
	defer services.Close()
	all := []*contender{
		{name: "aws-lambda-go alone", source: "./bench/aws/bare"},
		{name: "with the SDK linked", source: "./bench/aws/linked"},
		{name: "functions/aws, one queue", source: "./functions/aws", settings: settings(services.URL, one)},
		{name: "functions/aws, all targets", source: "./functions/aws", settings: settings(services.URL, four)},
		{name: "functions/aws-worker", source: "./functions/aws-worker", settings: []string{"TASKGATE_EVENTS_BASE=" + services.URL}},
	}
	for i, c := range all {
		c.path = filepath.Join(dir, fmt.Sprint(i))
		if err := build(c.source, c.path); err != nil {
			return err
		}
	}
	for i := range n + 5 {
		for _, c := range all {
			if err := c.start(i < 5); err != nil { // the first ones warm the page cache
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	floor := float64(all[0].quantile(0.5))
	fmt.Printf("%-28s %9s %9s %9s %8s %10s %10s\n", "exec to first poll", "median", "p10", "p90", "ratio", "zip MB", "idle MiB")
	for _, c := range all {
		size, err := zipped(c.source, filepath.Join(dir, "arm64"))
		if err != nil {
			return err
		}
		fmt.Printf("%-28s %9v %9v %9v %7.2f× %10.1f %10.1f\n", c.name, c.quantile(0.5), c.quantile(0.1), c.quantile(0.9),
			float64(c.quantile(0.5))/floor, float64(size)/1e6, float64(c.memory)/1024)
	}
	return nil
}

func build(source, to string, environ ...string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-tags", "lambda.norpc", "-o", to, source)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), environ...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", source, err, out)
	}
	return nil
}

// zipped is the size of what is deployed.
func zipped(source, at string) (int, error) {
	if err := build(source, at, "GOOS=linux", "GOARCH=arm64"); err != nil {
		return 0, err
	}
	binary, err := os.ReadFile(at)
	if err != nil {
		return 0, err
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	w, err := z.Create("bootstrap")
	if err != nil {
		return 0, err
	}
	if _, err := w.Write(binary); err != nil {
		return 0, err
	}
	return b.Len(), z.Close()
}

func (c *contender) quantile(q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(c.took))
	return sorted[int(q*float64(len(sorted)-1))].Round(10 * time.Microsecond)
}

// start runs the function until it polls for its first event.
func (c *contender) start(warming bool) error {
	polled, ended := make(chan time.Time, 1), make(chan struct{})
	runtime := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case polled <- time.Now():
		default:
		}
		<-ended
	}))
	defer runtime.Close()
	defer close(ended)
	var out strings.Builder
	cmd := exec.Command(c.path)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append([]string{
		"AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(runtime.URL, "http://"), "AWS_LAMBDA_FUNCTION_NAME=f",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512", "AWS_LAMBDA_FUNCTION_VERSION=1", "_HANDLER=bootstrap",
	}, c.settings...)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	select {
	case at := <-polled:
		if !warming {
			c.took = append(c.took, at.Sub(began))
			c.memory = max(c.memory, resident(cmd.Process.Pid))
		}
		return nil
	case <-time.After(10 * time.Second):
		return fmt.Errorf("does not poll: %s", &out)
	}
}

// resident is the process's memory in KiB, 0 where there is no /proc.
func resident(pid int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kib
		}
	}
	return 0
}

const (
	scheduled = `"EVENTBRIDGE_SCHEDULER_ROLE_ARN":"arn:aws:iam::123456789012:role/r"`
	one       = `{"default":{"BACKEND":"SQSBackend"}}`
	four      = `{"default":{"BACKEND":"SQSBackend","OPTIONS":{` + scheduled + `}},
		"topic":{"BACKEND":"SNSTopicBackend","OPTIONS":{"AWS_SNS_ARN_PREFIX":"arn:aws:sns:us-east-1:123456789012:",` + scheduled + `}},
		"scheduler":{"BACKEND":"EventBridgeSchedulerBackend","OPTIONS":{` + scheduled + `}},
		"function":{"BACKEND":"AWSLambdaBackend","OPTIONS":{` + scheduled + `}}}`
)

// settings are a full configuration, of a service whose clouds are at url.
func settings(url, tasks string) []string {
	return []string{
		"TASKGATE_TABLE=tasks", "TASKGATE_TASKS=" + tasks, "TASKGATE_TOKEN_SECRETS=" + strings.Repeat("s", 32),
		"TASKGATE_API_KEYS=bench:enqueue:" + strings.Repeat("0", 64),
		"AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=s", "AWS_ENDPOINT_URL=" + url,
	}
}
