package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// process is a running server.
type process struct {
	addr string // host:port
	cmd  *exec.Cmd
}

var url = regexp.MustCompile(`http://(127\.0\.0\.1:\d+)`)

// start runs a command that prints its URL, and returns when it has. Its log,
// if it writes one, goes to a file, as it would in production.
func start(logFile string, name string, args ...string) (*process, error) {
	return startWith(logFile, nil, name, args...)
}

func startWith(logFile string, environ []string, name string, args ...string) (*process, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Stderr = append([]string{"PATH=" + os.Getenv("PATH")}, environ...), log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if m := url.FindStringSubmatch(lines.Text()); m != nil {
			p.addr = m[1]
			go func() {
				for lines.Scan() {
				}
			}()
			return p, nil
		}
	}
	p.stop(syscall.SIGKILL)
	said, _ := os.ReadFile(logFile)
	return nil, fmt.Errorf("%s ended: %s", filepath.Base(name), said)
}

// stop ends the process with a signal, or by force when it takes too long.
func (p *process) stop(signal syscall.Signal) {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(signal)
	force := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	_ = p.cmd.Wait()
	force.Stop()
}

// startRedis runs a Redis with its data in dir that syncs its log as fsync says:
// "always", before every answer, or "everysec". It does nothing else meanwhile: no
// snapshots, no rewriting of the log.
func startRedis(dir, port, fsync string) (*process, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, "--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", fsync, "--auto-aof-rewrite-percentage", "0")
	return running(cmd, port)
}

// postgresURL is of the server that startPostgres starts. The size of River's pool
// is pgx's default: with 16 or 64 connections it is no faster.
func postgresURL(p *process) string {
	return "postgres://bench@" + p.addr + "/postgres?sslmode=disable"
}

// startPostgres makes a database in dir and runs it.
func startPostgres(dir string) (*process, error) {
	if err := makePostgres(dir); err != nil {
		return nil, err
	}
	return runPostgres(dir, freePort())
}

// makePostgres makes a database in dir with the server's own defaults, so with
// synchronous_commit and fsync.
func makePostgres(dir string) error {
	initdb, err := postgresProgram("initdb")
	if err != nil {
		return err
	}
	as, err := unprivileged(dir)
	if err != nil {
		return err
	}
	make := exec.Command(initdb, "-D", filepath.Join(dir, "data"), "-U", "bench", "--auth=trust", "--encoding=UTF8", "--locale=C")
	make.SysProcAttr, make.Dir = as, dir
	if out, err := make.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// runPostgres runs the database in dir, perhaps after a crash. It refuses to run as root.
func runPostgres(dir, port string) (*process, error) {
	server, err := postgresProgram("postgres")
	if err != nil {
		return nil, err
	}
	as, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(server, "-D", filepath.Join(dir, "data"), "-h", "127.0.0.1", "-p", port, "-k", dir)
	cmd.SysProcAttr, cmd.Dir = as, dir
	return running(cmd, port)
}

// postgresProgram finds a program where Debian puts it, or in the path.
func postgresProgram(name string) (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) > 0 {
		return found[len(found)-1], nil
	}
	return exec.LookPath(name)
}

// unprivileged gives dir to the user postgres, when this is root.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, errU := strconv.Atoi(u.Uid)
	gid, errG := strconv.Atoi(u.Gid)
	if err := errors.Join(errU, errG, os.Chown(dir, uid, gid)); err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// running starts a server and waits until its port answers.
func running(cmd *exec.Cmd, port string) (*process, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{addr: "127.0.0.1:" + port, cmd: cmd}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", p.addr)
		if err == nil {
			return p, conn.Close()
		}
		if time.Now().After(deadline) {
			p.stop(syscall.SIGKILL)
			return nil, fmt.Errorf("%s: %w", filepath.Base(cmd.Path), err)
		}
	}
}

func freePort() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // a machine without loopback
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}
