package functionshost

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/taskgate/taskgate/tests/emulators/internal/child"
)

// supervise keeps the handler running by the host's rules: exit code 0 is not restarted, any other is
// an error, and the third error ends the host.
func (h *Host) supervise() {
	defer h.update(func() { h.handler, h.stopped = "", true })
	for h.ctx.Err() == nil {
		proc, base, err := h.spawn()
		if err != nil {
			_, _ = fmt.Fprintf(&h.out, "functionshost: %v\n", err)
			return
		}
		if h.ready(proc, base) {
			h.update(func() { h.handler, h.starts = base, h.starts+1 })
		}
		code := proc.ExitCode()
		h.update(func() { h.handler = "" })
		switch code {
		case 0:
			return
		case exitRestart:
		default:
			if h.errors++; h.errors == maxErrors {
				return
			}
		}
	}
}

func (h *Host) spawn() (*child.Process, string, error) {
	// Found and released as the host does it; a port taken in between shows as one more error.
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	addr := probe.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	_ = probe.Close()

	description := h.config.CustomHandler.Description
	path := description.DefaultExecutablePath
	if !filepath.IsAbs(path) {
		path = filepath.Join(h.dir, path)
	}
	cmd := exec.Command(path, description.Arguments...)
	cmd.Dir = filepath.Join(h.dir, description.WorkingDirectory)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"FUNCTIONS_CUSTOMHANDLER_PORT=" + port, "FUNCTIONS_HTTPWORKER_PORT=" + port,
		"FUNCTIONS_CUSTOMHANDLER_WORKER_ID=" + strconv.Itoa(h.errors), "FUNCTIONS_HTTPWORKER_ID=" + strconv.Itoa(h.errors),
		"FUNCTIONS_APP_ROOT_PATH=" + h.dir,
	}
	for name, value := range h.options.Settings {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	proc, err := child.Start(cmd, &h.out)
	if err != nil {
		return nil, "", err
	}
	h.mu.Lock()
	h.proc = proc
	h.mu.Unlock()
	if h.ctx.Err() != nil { // Stop may have missed it
		proc.Kill()
	}
	return proc, "http://" + addr, nil
}

// ready asks for / until any answer comes; a handler that does not answer in time is killed.
func (h *Host) ready(proc *child.Process, base string) bool {
	ctx, cancel := context.WithTimeout(h.ctx, readyLimit)
	defer cancel()
	poll := time.NewTicker(readyPoll)
	defer poll.Stop()
	for {
		if req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/", nil); err == nil {
			if res, err := http.DefaultClient.Do(req); err == nil {
				_ = res.Body.Close()
				return true
			}
		}
		select {
		case <-poll.C:
		case <-proc.Done():
			return false
		case <-ctx.Done():
			proc.Kill()
			return false
		}
	}
}
