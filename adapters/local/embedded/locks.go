package embedded

import (
	"slices"
	"sync"
)

// locks holds one lock for each id that is in use. A writer holds the lock of its id
// until its commit returns, so a check and the write after it are atomic. A reader
// waits for the lock, so it never returns a durable write that is not on disk yet.
type locks struct {
	mu  sync.Mutex
	ids map[string]*idLock
}

type idLock struct {
	sync.RWMutex
	users int // how many callers hold the lock or wait for it
}

// lock locks ids for writing. It locks several ids in sorted order, which prevents
// deadlocks.
func (l *locks) lock(ids ...string) (unlock func()) {
	if len(ids) > 1 {
		slices.Sort(ids)
		ids = slices.Compact(ids)
	}
	held := l.use(ids)
	for _, lock := range held {
		lock.Lock()
	}
	return func() {
		for _, lock := range held {
			lock.Unlock()
		}
		l.leave(ids, held)
	}
}

// rlock locks an id for reading.
func (l *locks) rlock(id string) (unlock func()) {
	ids := []string{id}
	held := l.use(ids)
	held[0].RLock()
	return func() {
		held[0].RUnlock()
		l.leave(ids, held)
	}
}

// use returns the locks of ids and counts the caller as a user of each.
func (l *locks) use(ids []string) []*idLock {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := make([]*idLock, len(ids))
	for i, id := range ids {
		lock := l.ids[id]
		if lock == nil {
			lock = &idLock{}
			l.ids[id] = lock
		}
		lock.users++
		held[i] = lock
	}
	return held
}

// leave deletes the locks that have no more users.
func (l *locks) leave(ids []string, held []*idLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, lock := range held {
		if lock.users--; lock.users == 0 {
			delete(l.ids, ids[i])
		}
	}
}
