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

// config holds the settings of the local main.
type config struct {
	settings.Service
	addr        string // the listening address, host:port
	data        string // the directory of the database and the token secret
	workerURL   string // the URL that messages are pushed to; "" = the demo worker, or none if pull is set
	pull        bool   // nothing is pushed; workers fetch their messages
	concurrency int    // maximum number of concurrent pushes
}

// defaultTasks is the default of TASKGATE_TASKS: one backend with any queue name.
const defaultTasks = `{"default": {"BACKEND": "taskgate.LocalBackend", "QUEUES": []}}`

// noWorker is the value of TASKGATE_WORKER_URL that turns pushing off.
const noWorker = "none"

// maxConcurrency is the maximum of TASKGATE_WORKER_CONCURRENCY. Each push can need
// 2 MiB of memory for its message.
const maxConcurrency = 1000

// readConfig reads the settings from the environment. Its error lists all mistakes.
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
		env.Failf("TASKGATE_AUTH=none serves everybody, so TASKGATE_ADDR must be a loopback address; for other addresses use TASKGATE_AUTH=keys")
	}
	return c, env.Err()
}

// tokenSecrets returns the secrets that verify task tokens. The first one also signs
// new tokens. If no secret is configured, tokenSecrets makes one and keeps it in a
// file beside the database. The kept secret still verifies after others are
// configured, so that workers can report on messages that were queued before.
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

// readSecret reads the secret in the file at path. Anybody who knows the secret can
// report on every task. So only the owner may have access to the file, and the
// secret must be long enough.
func readSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := checkMode(path, info, 0o077, "go="); err != nil {
		return nil, err
	}
	secret, err := os.ReadFile(path)
	if err == nil && len(secret) < task.MinSecretBytes {
		err = fmt.Errorf("%s has %d bytes; a token secret needs at least %d. If you delete the file, the service makes a new secret, but workers then cannot report on tasks that are already queued",
			path, len(secret), task.MinSecretBytes)
	}
	return secret, err
}

// checkMode returns an error when a file or directory has one of the forbidden
// permission bits. fix is the chmod mode that removes these bits. Windows does not
// have them.
func checkMode(path string, info fs.FileInfo, forbidden fs.FileMode, fix string) error {
	if mode := info.Mode().Perm(); mode&forbidden != 0 && runtime.GOOS != "windows" {
		return fmt.Errorf("%s holds secrets, but its mode %#o lets other users read or change them; run: chmod %s %s", path, mode, fix, path)
	}
	return nil
}

// checkData returns an error when users outside the owner's group have access to
// the database. The database holds the arguments and results of all tasks, and the
// tokens of queued tasks. The group may have access, because Kubernetes gives a
// volume to the group of the pod (fsGroup).
func checkData(dir string) error {
	path := filepath.Join(dir, "db")
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // embedded.Open makes the directory, for the owner only
	}
	if err != nil {
		return err
	}
	return checkMode(path, info, 0o007, "o=")
}

// writeDurably writes a file atomically: after a crash, the file is either complete
// or does not exist.
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
