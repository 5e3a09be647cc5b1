package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/taskgate/taskgate/adapters/local/push"
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
	kept, err := os.ReadFile(path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case len(kept) > 0:
		return append(configured, kept), nil
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
