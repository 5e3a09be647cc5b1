// Package embedded keeps tasks and their queue in one durable database in a
// directory of this machine: the record of a task and its queue entry are one
// commit. It is the store, the dispatcher and the broker of the local binary.
//
// Every write is on disk when its method returns, but for two that can only
// cause a redelivery when they are lost: acknowledgements and delivery counts
// reach the disk within 20 ms. Concurrent writes share an fsync.
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

// DB is an open database. It is a [task.Store]; its queues are filled by the
// [Dispatcher] of each backend and emptied through each [Feed].
type DB struct {
	pebble *pebble.DB
	lock   *pebble.Lock
	now    func() time.Time
	opened time.Time

	locks    locks
	queue    schedule
	examined atomic.Uint64 // keys of waiting messages that scans have read
	watches  watches

	gate     sync.RWMutex // held for reading by every operation, for writing by Close
	stop     context.CancelFunc
	stopped  context.Context // done when Close begins or the disk has failed
	failure  failure
	lazySync lazySync
	sweeping sync.WaitGroup
}

// Options are what [Open] may be told; the zero value is the product's.
type Options struct {
	FS         vfs.FS           // nil = the disk
	Now        func() time.Time // nil = time.Now
	SweepEvery time.Duration    // how often dead records are looked for; 0 = 10 minutes, negative = never
}

// ErrClosed is the cause of the errors of a database that was closed.
var ErrClosed = errors.New("the database is closed")

// Open opens the database in dir, and makes it if there is none. It fails when
// another process, or this one, has it open already.
func Open(dir string, o Options) (*DB, error) {
	if o.FS == nil {
		o.FS = vfs.Default
		absolute, err := filepath.Abs(dir) // one directory has one name, so that its lock is seen
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
		return nil, fmt.Errorf("embedded: the data directory %s is in use by another process (or cannot be locked): %w", dir, err)
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

// Close waits for the operations under way, writes what is not yet on disk and
// gives the directory free. Later operations fail with [ErrClosed]. After
// [DB.Failed] it only says why: the end of the process gives the directory free.
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

// Failed is closed when the disk refused a write. Nothing can be written after
// that, since what is on disk is only known by reading it again: the process
// should end, and open the database anew.
func (d *DB) Failed() <-chan struct{} { return d.failure.done() }

// begin admits an operation; the caller calls end when it is through. A commit
// under way is finished even if ctx ends meanwhile.
func (d *DB) begin(ctx context.Context, op, id string) (end func(), err error) {
	if end, err = d.admit(ctx); err != nil {
		return nil, unavailable(op, id, err)
	}
	return end, nil
}

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

// unavailable is the error of an operation whose outcome is unknown or that
// cannot be done for now.
func unavailable(op, id string, err error) error {
	return &task.Error{
		Kind: task.Unavailable, Msg: "the local store cannot serve the request now", TaskID: id,
		Err: fmt.Errorf("embedded: %s %s: %w", op, id, err),
	}
}

// wrap is unavailable, and nil for no error.
func wrap(op, id string, err error) error {
	if err == nil {
		return nil
	}
	return unavailable(op, id, err)
}
