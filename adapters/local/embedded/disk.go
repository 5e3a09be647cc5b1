package embedded

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// pebbleOptions returns pebble's options for a small process. It needs a few MiB of
// memory, and a restart replays at most one memtable.
func pebbleOptions(fs vfs.FS, lock *pebble.Lock, f *failure) *pebble.Options {
	o := &pebble.Options{
		FS:                 fs,
		Lock:               lock,
		Logger:             f,
		FormatMajorVersion: pebble.FormatTableFormatV6,
		// Up to two memtables count against the cache. Without more room in the
		// cache, each lookup of an id would read blocks from files.
		CacheSize:             16 << 20,
		MemTableSize:          4 << 20,
		L0CompactionThreshold: 8, // compact newly flushed tables less often
		MaxOpenFiles:          256,
		DisableTableStats:     true,
		EventListener: &pebble.EventListener{
			BackgroundError: func(error) {}, // pebble retries; if the log fails, the next commit reports that
		},
	}
	o.Experimental.FileCacheShards = 1
	o.Experimental.SpanPolicyFunc = tablePerKind
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// tablePerKind makes pebble start a new table where the next kind of key begins.
// Most kinds of key grow at the end only, so their tables do not overlap. A lookup
// then reads only the table that can have the key, and compactions need not
// rewrite these tables.
func tablePerKind(key []byte) (policy pebble.SpanPolicy, end []byte, err error) {
	return pebble.SpanPolicy{}, []byte{key[0] + 1}, nil
}

// makeDir makes the data directory. Only the owner can read it, because it holds
// payloads. makeDir syncs the parent, so that the new directory survives a crash.
func makeDir(fs vfs.FS, dir string) error {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	parent, err := fs.OpenDir(filepath.Dir(dir))
	if err != nil {
		return nil // without the right to open the parent, the process cannot have changed it
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// commit writes b. If durable is true, commit returns when b is on disk;
// concurrent commits share an fsync. Otherwise b reaches the disk within lazyDelay.
func (d *DB) commit(b *pebble.Batch, durable bool) (err error) {
	defer d.failure.recovered(&err)
	options := pebble.Sync
	if !durable {
		options = pebble.NoSync
		defer d.lazySync.arm(d.syncLater)
	}
	if err := b.Commit(options); err != nil {
		return err
	}
	return b.Close() // a failed batch is not closed, because pebble may still use it
}

// sync returns when all earlier writes are on disk.
func (d *DB) sync() (err error) {
	defer d.failure.recovered(&err)
	return d.pebble.LogData(nil, pebble.Sync)
}

func (d *DB) syncLater() {
	end, err := d.begin(context.Background(), "sync", "")
	if err != nil {
		return // Close has synced already, or the disk has failed
	}
	defer end()
	_ = d.sync() // the failure is remembered, and every later operation reports it
}

// failure keeps the error of a failed write to pebble's log. It implements
// pebble's Logger, because pebble reports that error only by Logger.Fatalf. It
// discards all other log lines.
type failure struct {
	mu     sync.Mutex
	err    error
	closed chan struct{}
}

func (*failure) Infof(string, ...any)  {}
func (*failure) Errorf(string, ...any) {}

// Fatalf must not return, so it panics. In a commit, recovered turns the panic into
// the commit's error. In pebble's own goroutines the panic ends the process.
func (*failure) Fatalf(format string, args ...any) { panic(fmt.Errorf(format, args...)) }

// recovered, when deferred, turns a panic of Fatalf into err and keeps the error.
func (f *failure) recovered(err *error) {
	p := recover()
	if p == nil {
		return
	}
	cause, ok := p.(error)
	if !ok {
		panic(p) // a defect in the program, not a failed disk
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = fmt.Errorf("the disk failed; restart the process to open the database again: %w", cause)
		close(f.channel())
	}
	*err = f.err
}

// cause returns the kept error, or nil.
func (f *failure) cause() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// done returns a channel that is closed when the disk fails.
func (f *failure) done() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.channel()
}

// channel is called with the lock held.
func (f *failure) channel() chan struct{} {
	if f.closed == nil {
		f.closed = make(chan struct{})
	}
	return f.closed
}

// lazyDelay is the longest time until a write that is not durable at once is synced.
const lazyDelay = 20 * time.Millisecond

// lazySync syncs writes that no caller waits for. Many writes share one fsync.
type lazySync struct {
	mu    sync.Mutex
	timer *time.Timer // nil = no write is waiting for a sync
	ended bool
}

// arm ensures that sync is called within lazyDelay.
func (l *lazySync) arm(sync func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil || l.ended {
		return
	}
	l.timer = time.AfterFunc(lazyDelay, func() {
		l.mu.Lock()
		ended := l.ended
		l.timer = nil
		l.mu.Unlock()
		if !ended {
			sync()
		}
	})
}

// stop prevents further calls of sync.
func (l *lazySync) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.timer != nil {
		l.timer.Stop()
	}
}
