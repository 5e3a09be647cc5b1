// Package embedded keeps tasks and their queue in one durable database in a
// directory of this machine. One commit stores the record of a task and its queue
// entry. The package is the store, the dispatcher and the broker of the local
// binary.
//
// Most writes are on disk when the method returns. Concurrent writes share an
// fsync. Some writes reach the disk only within 20 ms: the delivery counts of
// Claim (except in the first two seconds after Open), Acknowledge, Refuse,
// RemoveMessage and the deletions of Sweep. If a crash loses such a write, a
// message may be delivered again, a delivery count may be wrong, or the next sweep
// deletes the record.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/taskgate/taskgate/core/task"
)

// The ports of a store that DB implements.
var (
	_ task.MessageStore = (*DB)(nil)
	_ task.Watcher      = (*DB)(nil)
)

// DB is an open database. The [Dispatcher] of each backend puts messages into the
// queues, and each [Feed] claims the messages of one queue.
type DB struct {
	pebble *pebble.DB
	lock   *pebble.Lock
	now    func() time.Time
	opened time.Time

	locks    locks
	queue    schedule
	examined atomic.Uint64 // how many keys of waiting messages the scans have read
	watches  watches

	gate     sync.RWMutex // every operation holds it for reading, Close for writing
	stop     context.CancelFunc
	stopped  context.Context // done when Close begins or the disk has failed
	failure  failure
	lazySync lazySync
	sweeping sync.WaitGroup
}

// Options are the options of [Open]. The zero value has the defaults.
type Options struct {
	FS         vfs.FS           // nil = the operating system's file system
	Now        func() time.Time // nil = time.Now
	SweepEvery time.Duration    // the interval of Sweep; 0 = 10 minutes, negative = never
}

// ErrClosed is the cause of the errors of a database that was closed.
var ErrClosed = errors.New("the database is closed")

// Open opens the database in dir. It makes a new database if there is none. It
// fails if any process, also this one, already has the database open.
func Open(dir string, o Options) (*DB, error) {
	if o.FS == nil {
		o.FS = vfs.Default
		absolute, err := filepath.Abs(dir) // pebble compares names to see that this process holds the lock
		if err != nil {
			return nil, fmt.Errorf("embedded: open %s: %w", dir, err)
		}
		dir = absolute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := makeDir(o.FS, dir); err != nil {
		return nil, fmt.Errorf("embedded: open %s: %w", dir, err)
	}
	lock, err := pebble.LockDirectory(dir, o.FS)
	if err != nil {
		return nil, fmt.Errorf("embedded: cannot lock the data directory %s; another process may be using it: %w", dir, err)
	}
	d := &DB{lock: lock, now: o.Now, opened: o.Now(), locks: locks{ids: map[string]*idLock{}}}
	d.stopped, d.stop = context.WithCancel(context.Background())
	d.pebble, err = pebble.Open(dir, pebbleOptions(o.FS, lock, &d.failure))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded: open %s: %w", dir, err), lock.Close())
	}
	if err := errors.Join(d.upgrade(), d.initSchedule()); err != nil {
		return nil, errors.Join(fmt.Errorf("embedded: open %s: %w", dir, err), d.pebble.Close(), lock.Close())
	}
	d.startSweeping(o.SweepEvery)
	return d, nil
}

// Close waits for running operations, syncs all writes to disk and unlocks the
// directory. Later operations fail with [ErrClosed]. If the disk has failed (see
// [DB.Failed]), Close only returns that error. The directory then stays locked until
// the process ends.
func (d *DB) Close() error {
	d.stop()
	d.sweeping.Wait()
	if err := d.failure.cause(); err != nil {
		return err // pebble cannot be closed once its log has failed
	}
	d.gate.Lock()
	defer d.gate.Unlock()
	if d.pebble == nil {
		return ErrClosed
	}
	d.lazySync.stop()
	err := errors.Join(d.pebble.Close(), d.lock.Close())
	d.pebble = nil
	return err
}

// Failed returns a channel that is closed when a write to disk fails. After that,
// every write fails, because it is unknown which data is on disk. The process
// should exit; its next start reads the database from disk.
func (d *DB) Failed() <-chan struct{} { return d.failure.done() }

// begin starts an operation. The caller calls end when the operation is over. If
// ctx ends during a commit, the commit continues.
func (d *DB) begin(ctx context.Context, op, id string) (end func(), err error) {
	if end, err = d.admit(ctx); err != nil {
		return nil, unavailable(op, id, err)
	}
	return end, nil
}

// admit does the work of begin, but its error is the bare cause.
func (d *DB) admit(ctx context.Context) (end func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.gate.RLock()
	if d.pebble == nil {
		err = ErrClosed
	} else {
		err = d.failure.cause()
	}
	if err != nil {
		d.gate.RUnlock()
		return nil, err
	}
	return d.gate.RUnlock, nil
}

// unavailable returns the error of an operation that failed for now, or whose
// outcome is unknown.
func unavailable(op, id string, err error) error {
	return &task.Error{
		Kind: task.Unavailable, Msg: "the local store cannot serve the request now", TaskID: id,
		Err: fmt.Errorf("embedded: %s %s: %w", op, id, err),
	}
}

// wrap returns nil if err is nil, and otherwise the error of unavailable.
func wrap(op, id string, err error) error {
	if err == nil {
		return nil
	}
	return unavailable(op, id, err)
}
