// Package emulators starts the cloud services that tests talk to: each call starts one process on a
// free loopback port and ends it with the test. README.md says what each of them gets wrong.
//
// A missing emulator skips the test and names what to do; with CI=true it fails the test.
package emulators

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/tests/emulators/internal/child"
	"github.com/taskgate/taskgate/tests/wait"
)

// Endpoint is one running emulator. Its methods are for the test's own goroutine.
type Endpoint struct {
	t      testing.TB
	script string // what serve.mjs calls it
	config any
	dir    string
	addr   string
	out    child.Output
	proc   *child.Process
}

// SQS starts fauxqs, which serves SQS and SNS at one endpoint. A restart forgets queues and topics.
func SQS(t testing.TB) *Endpoint { return start(t, "fauxqs", "fauxqs", nil) }

// DynamoDB starts dynalite. Tables and items survive Restart.
func DynamoDB(t testing.TB) *Endpoint {
	return start(t, "dynalite", "dynalite", map[string]any{"path": t.TempDir()})
}

// StorageQueue starts Azurite's queue service. A restart forgets its queues.
func StorageQueue(t testing.TB) *Endpoint { return start(t, "azurite", "azurite", nil) }

// Cosmos starts Vercel's Cosmos DB server, over plain HTTP. A restart forgets everything.
func Cosmos(t testing.TB) *Endpoint {
	return start(t, "cosmos", "@vercel/cosmosdb-server", nil)
}

// ServiceBus starts the project's own Service Bus server. A restart keeps the entities of config,
// and forgets the messages.
func ServiceBus(t testing.TB, config ServiceBusConfig) *Endpoint {
	return start(t, "servicebus", "rhea", config)
}

func start(t testing.TB, script, module string, config any) *Endpoint {
	t.Helper()
	e := &Endpoint{t: t, script: script, config: config, addr: "127.0.0.1:0"}
	dir, err := folder()
	if err != nil {
		t.Fatal(err)
	}
	e.dir = dir
	if missing := missing(dir, module); missing != "" {
		const how = "the emulator %s is missing (%s): install the emulators with `make emulators`"
		if os.Getenv("CI") == "true" {
			t.Fatalf(how, script, missing)
		}
		t.Skipf("SKIPPED: "+how, script, missing)
	}
	t.Cleanup(e.stop)
	e.run()
	return e
}

// folder finds tests/emulators above the test's working directory.
func folder() (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; at != filepath.Dir(at); at = filepath.Dir(at) {
		dir := filepath.Join(at, "tests", "emulators")
		if _, err := os.Stat(filepath.Join(dir, "serve.mjs")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("there is no folder tests/emulators above the test")
}

// missing says what the emulator made of that npm module lacks on this machine; "" = nothing.
func missing(dir, module string) string {
	if _, err := exec.LookPath("node"); err != nil {
		return "no node in PATH"
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", filepath.FromSlash(module))); err != nil {
		return "no node_modules/" + module
	}
	return ""
}

// Addr is the host and port, 127.0.0.1:port. It stays the same across Restart.
func (e *Endpoint) Addr() string { return e.addr }

// URL is Addr as an http URL, without a trailing slash.
func (e *Endpoint) URL() string { return "http://" + e.addr }

// Log is what the emulator has printed since it was started last.
func (e *Endpoint) Log() string { return e.out.String() }

// Kill ends the emulator as a crash would: connections are reset, and its port is refused.
func (e *Endpoint) Kill() { e.proc.Kill() }

// Restart starts the emulator again at the same address, and returns when it accepts connections.
func (e *Endpoint) Restart() {
	e.t.Helper()
	e.proc.Kill()
	e.run()
}

func (e *Endpoint) stop() {
	if e.proc != nil {
		e.proc.Kill()
	}
	if e.t.Failed() && e.Log() != "" {
		e.t.Logf("%s printed:\n%s", e.script, e.Log())
	}
}

// run starts the process and waits until it listens. A first start lets the kernel pick the port;
// a restart needs the old one, and tries again while somebody else's connection happens to hold it.
func (e *Endpoint) run() {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait.Patience)
	defer cancel()
	for {
		err := e.attempt(ctx)
		if err == nil {
			return
		}
		if !errors.Is(err, child.ErrEnded) || !strings.Contains(e.Log(), "EADDRINUSE") || ctx.Err() != nil {
			e.t.Fatalf("%s did not start: %v\n%s", e.script, err, e.Log())
		}
	}
}

func (e *Endpoint) attempt(ctx context.Context) error {
	args := []string{"serve.mjs", e.script, "--until-stdin-closes", "--port", e.addr[strings.LastIndexByte(e.addr, ':')+1:]}
	if e.config != nil {
		config, err := json.Marshal(e.config)
		if err != nil {
			return err
		}
		args = append(args, "--config", string(config))
	}
	cmd := exec.Command("node", args...)
	cmd.Dir = e.dir
	// The emulator reads its stdin until the end, which comes when this process dies.
	if _, err := cmd.StdinPipe(); err != nil {
		return err
	}
	e.out.Reset()
	var err error
	if e.proc, err = child.Start(cmd, &e.out); err != nil {
		return err
	}
	line, err := e.out.Await(ctx, "listening ")
	if err != nil {
		return err
	}
	_, e.addr, _ = strings.Cut(line, "listening ")
	return nil
}
