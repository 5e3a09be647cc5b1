package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// candidate is a running server.
type candidate struct {
	name, url string
	known     string // a task's id, for look-ups
	cmd       *exec.Cmd
	restart   func() (*candidate, error)
}

// start builds and starts the candidates, taskgate first. A peer whose server is
// not installed is left out, loudly. stop ends them all.
func start() (candidates []*candidate, stop func(), err error) {
	tmp, err := os.MkdirTemp("", "peers")
	if err != nil {
		return nil, func() {}, err
	}
	var running []*exec.Cmd
	stop = func() {
		for i := len(running) - 1; i >= 0; i-- {
			end(running[i])
		}
		_ = os.RemoveAll(tmp)
	}
	binary := filepath.Join(tmp, "taskgate")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "./functions/local")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Dir = "../.." // its own module, with its own versions
	if out, err := build.CombinedOutput(); err != nil {
		return nil, stop, fmt.Errorf("build taskgate: %w\n%s", err, out)
	}
	own := func() (*candidate, error) {
		cmd := exec.Command(binary)
		cmd.Env = []string{"TASKGATE_ADDR=127.0.0.1:0", "TASKGATE_DATA=" + filepath.Join(tmp, "taskgate-data")}
		c, err := launch("taskgate", cmd)
		if err == nil {
			running = append(running, cmd)
		}
		return c, err
	}
	taskgate, err := own()
	if err != nil {
		return nil, stop, err
	}
	taskgate.restart = own
	if taskgate.known, err = firstTask(taskgate); err != nil {
		return nil, stop, err
	}
	candidates = append(candidates, taskgate)

	redis, redisErr := startRedis(tmp, &running)
	postgres, postgresErr := startPostgres(tmp, &running)
	for _, peer := range []struct {
		name, env string
		missing   error
	}{
		{"no store", "", nil}, {"asynq", "PEERS_REDIS=" + redis, redisErr}, {"river", "PEERS_POSTGRES=" + postgres, postgresErr},
	} {
		if peer.missing != nil {
			fmt.Fprintf(os.Stderr, "SKIPPED: %s: %v\n", peer.name, peer.missing)
			continue
		}
		self, err := os.Executable()
		if err != nil {
			return nil, stop, err
		}
		cmd := exec.Command(self, "-serve", peer.name)
		cmd.Env = append(os.Environ(), peer.env)
		c, err := launch(peer.name, cmd)
		if err != nil {
			return nil, stop, err
		}
		running = append(running, cmd)
		candidates = append(candidates, c)
	}
	return candidates, stop, nil
}

// end ends a server and whatever it has started.
func end(cmd *exec.Cmd) {
	group := -cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGINT)
	killer := time.AfterFunc(5*time.Second, func() { _ = syscall.Kill(group, syscall.SIGKILL) })
	defer killer.Stop()
	_ = cmd.Wait()
}

var baseURL = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

// launch starts a server and waits until it has printed its URL.
func launch(name string, cmd *exec.Cmd) (*candidate, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var log strings.Builder
	if name != "taskgate" { // whose log is one line a request
		cmd.Stderr = &log
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if url := baseURL.FindString(lines.Text()); url != "" {
			go func() {
				for lines.Scan() {
				}
			}()
			return &candidate{name: name, url: url, cmd: cmd}, nil
		}
	}
	return nil, fmt.Errorf("%s did not start: %w %s", name, cmd.Wait(), log.String())
}

func firstTask(c *candidate) (string, error) {
	answer, err := call("POST", c.url+"/v1/tasks", `{"task_name":"add","args":[1,2]}`)
	if err != nil {
		return "", err
	}
	id := regexp.MustCompile(`"id":"([^"]+)"`).FindStringSubmatch(answer)
	if id == nil {
		return "", errors.New(answer)
	}
	_, err = call("GET", c.url+"/v1/tasks/"+id[1]+"?wait=10", "")
	return id[1], err
}

func startRedis(tmp string, running *[]*exec.Cmd) (addr string, err error) {
	port := freePort()
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", tmp, "--save", "",
		"--appendonly", "yes", "--appendfsync", "always")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	*running = append(*running, cmd)
	return "127.0.0.1:" + port, reachable("127.0.0.1:" + port)
}

// startPostgres runs PostgreSQL with its own defaults. It refuses to be root.
func startPostgres(tmp string, running *[]*exec.Cmd) (url string, err error) {
	as := func(name string, args ...string) *exec.Cmd {
		if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(found) > 0 {
			name = found[len(found)-1]
		}
		if os.Getuid() == 0 {
			return exec.Command("runuser", append([]string{"-u", "postgres", "--", name}, args...)...)
		}
		return exec.Command(name, args...)
	}
	data, port := filepath.Join(tmp, "postgres"), freePort()
	if err := os.Chmod(tmp, 0o777); err != nil {
		return "", err
	}
	if out, err := as("initdb", "-D", data, "-U", "peers", "--auth=trust", "--no-locale", "-E", "UTF8").CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w %s", err, out)
	}
	cmd := as("postgres", "-D", data, "-p", port, "-h", "127.0.0.1", "-k", data)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	*running = append(*running, cmd)
	return "postgres://peers@127.0.0.1:" + port + "/postgres?sslmode=disable", reachable("127.0.0.1:" + port)
}

func freePort() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

// reachable waits until somebody listens.
func reachable(addr string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-tick.C {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}
