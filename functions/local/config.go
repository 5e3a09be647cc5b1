package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/taskgate/taskgate/adapters/local/push"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/functions/settings"
)

// config is what the local main is told by its environment.
type config struct {
	settings.Service
	addr        string // to listen on, host:port
	data        string // the directory of the database and the token secret
	workerURL   string // where messages are pushed; "" = the demo worker, or nowhere
	pull        bool   // nothing is pushed: workers fetch their messages
	concurrency int    // how many messages are pushed at once
}

// defaultTasks is what a fresh machine begins with: one backend, any queue.
const defaultTasks = `{"default": {"BACKEND": "taskgate.LocalBackend", "QUEUES": []}}`

// noWorker as TASKGATE_WORKER_URL means that nothing is pushed.
const noWorker = "none"

// maxConcurrency is the largest TASKGATE_WORKER_CONCURRENCY. Each push may hold
// a message of 2 MiB in memory.
const maxConcurrency = 1000

// readConfig reads the environment, and reports all its mistakes together.
func readConfig(environ []string) (config, error) {
	env := settings.NewEnv(environ)
	c := config{
		Service: env.Service(settings.Main{
			Name:             "functions/local",
			Serves:           map[settings.Kind]settings.CheckQueue{settings.LocalBackend: nil},
			Auth:             []settings.Auth{settings.AuthNone, settings.AuthKeys},
			DefaultTasks:     defaultTasks,
			MakesTokenSecret: true,
		}),
		addr:        env.Address("TASKGATE_ADDR", "127.0.0.1:8080"),
		data:        env.String("TASKGATE_DATA", ".taskgate"),
		concurrency: env.Int("TASKGATE_WORKER_CONCURRENCY", push.DefaultConcurrency, 1, maxConcurrency),
		pull:        env.String("TASKGATE_WORKER_URL", "") == noWorker,
	}
	if !c.pull {
		c.workerURL = env.URL("TASKGATE_WORKER_URL")
	}
	if c.Auth == settings.AuthNone && !settings.Loopback(c.addr) {
		env.Failf("TASKGATE_AUTH=none serves everybody, so TASKGATE_ADDR must be a loopback address; use TASKGATE_AUTH=keys for others")
	}
	return c, env.Err()
}

// tokenSecrets returns the secrets of the task tokens: the configured ones, of
// which the first signs, or one that is made once and kept beside the database.
// That one goes on verifying when others are configured, so that the messages
// which it signed can still be reported on.
func tokenSecrets(dir string, configured [][]byte) ([][]byte, error) {
	path := filepath.Join(dir, "token-secret")
	kept, err := readSecret(path)
	switch {
	case err == nil:
		return append(configured, kept), nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case len(configured) > 0:
		return configured, nil
	}
	random := make([]byte, 32)
	rand.Read(random) // never fails: crypto/rand
	secret := []byte(base64.RawURLEncoding.EncodeToString(random))
	if err := writeDurably(path, secret); err != nil {
		return nil, fmt.Errorf("keep the token secret: %w", err)
	}
	return [][]byte{secret}, nil
}

// readSecret returns a secret that is kept in a file. Who can read the secret can
// report on every task, so the file must be its owner's alone, and long enough.
func readSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := private(path, info, 0o077); err != nil {
		return nil, err
	}
	secret, err := os.ReadFile(path)
	if err == nil && len(secret) < task.MinSecretBytes {
		err = fmt.Errorf("%s has %d bytes; a token secret has at least %d. Delete it to have a new one made; tasks that are queued can then not be reported on",
			path, len(secret), task.MinSecretBytes)
	}
	return secret, err
}

// private returns an error when a file or directory has one of the forbidden
// permission bits. Windows has no such bits.
func private(path string, info fs.FileInfo, forbidden fs.FileMode) error {
	if mode := info.Mode().Perm(); mode&forbidden != 0 && runtime.GOOS != "windows" {
		return fmt.Errorf("%s holds secrets and has the mode %#o, with which other users can read or change it; run: chmod go= %s", path, mode, path)
	}
	return nil
}

// checkData refuses a database that every user can read or change: it holds the
// arguments and results of all tasks, and the tokens of those queued. A group may
// have it, since Kubernetes gives a volume to the group of the pod (fsGroup).
func checkData(dir string) error {
	path := filepath.Join(dir, "db")
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it will be made for its owner alone
	}
	if err != nil {
		return err
	}
	return private(path, info, 0o007)
}

// writeDurably makes a file that is there whole or not at all, whenever the
// machine stops.
func writeDurably(path string, data []byte) error {
	temporary := path + ".new"
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
