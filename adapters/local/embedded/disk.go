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

// pebbleOptions returns pebble's options for a small process: a few MiB of memory, and
// a restart that replays at most one memtable.
func pebbleOptions(fs vfs.FS, lock *pebble.Lock, f *failure) *pebble.Options {
	o := &pebble.Options{
		FS:                 fs,
		Lock:               lock,
		Logger:             f,
		FormatMajorVersion: pebble.FormatTableFormatV6,
		// Of the cache pebble takes what its memtables hold, up to two of them.
		// Without room beside them, each look for an id reads blocks from files.
		CacheSize:             16 << 20,
		MemTableSize:          4 << 20,
		L0CompactionThreshold: 8, // fewer compactions of what was just flushed
		MaxOpenFiles:          256,
		DisableTableStats:     true,
		EventListener: &pebble.EventListener{
			BackgroundError: func(error) {}, // pebble tries again; a failing log is seen by the next commit
		},
	}
	o.Experimental.FileCacheShards = 1
	o.Experimental.SpanPolicyFunc = tablePerKind
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// tablePerKind ends a table where the next kind of key begins. Most kinds grow at
// their end, so that their tables do not overlap: they are looked into for what
// they have alone, and compactions leave them as they are.
func tablePerKind(key []byte) (policy pebble.SpanPolicy, end []byte, err error) {
	return pebble.SpanPolicy{}, []byte{key[0] + 1}, nil
}

// makeDir makes the data directory for its owner alone: it holds payloads. The
// parent is synced so that a crash does not take the new directory away.
func makeDir(fs vfs.FS, dir string) error {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	parent, err := fs.OpenDir(filepath.Dir(dir))
	if err != nil {
		return nil // not ours to open, so not ours to have changed
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// commit writes b. With durable it returns when b is on disk, in an fsync
// shared with every commit that waits; otherwise b is there within lazyDelay.
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
	return b.Close() // a batch that failed may still be pebble's, and is left to it
}

// sync puts every write so far on disk.
func (d *DB) sync() (err error) {
	defer d.failure.recovered(&err)
	return d.pebble.LogData(nil, pebble.Sync)
}

func (d *DB) syncLater() {
	end, err := d.begin(context.Background(), "sync", "")
	if err != nil {
		return // closed, which syncs, or failed
	}
	defer end()
	_ = d.sync() // the failure is remembered, and every later operation reports it
}

// failure remembers that the log could not be written. It is pebble's logger,
// since that is whom pebble tells; otherwise it is quiet.
type failure struct {
	mu     sync.Mutex
	err    error
	closed chan struct{}
}

func (*failure) Infof(string, ...any)  {}
func (*failure) Errorf(string, ...any) {}

// Fatalf must not return. In a commit the panic is caught by recovered, and
// becomes the commit's error; in pebble's own goroutines it ends the process.
func (*failure) Fatalf(format string, args ...any) { panic(fmt.Errorf(format, args...)) }

func (f *failure) recovered(err *error) {
	p := recover()
	if p == nil {
		return
	}
	cause, ok := p.(error)
	if !ok {
		panic(p) // a defect, not the disk
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = fmt.Errorf("the disk failed, and the database must be opened anew: %w", cause)
		close(f.channel())
	}
	*err = f.err
}

func (f *failure) cause() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *failure) done() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.channel()
}

func (f *failure) channel() chan struct{} {
	if f.closed == nil {
		f.closed = make(chan struct{})
	}
	return f.closed
}

// lazyDelay is how long a write that nobody waits for may stay off the disk.
const lazyDelay = 20 * time.Millisecond

// lazySync puts writes that nobody waits for on disk, many in one fsync.
type lazySync struct {
	mu    sync.Mutex
	timer *time.Timer // nil = nothing waits
	ended bool
}

// arm makes sure that sync is called within lazyDelay.
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

func (l *lazySync) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.timer != nil {
		l.timer.Stop()
	}
}
