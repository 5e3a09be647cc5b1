package embedded

import (
	"slices"
	"sync"
)

// locks are one lock for each id that is in use. Writers hold an id's until their
// commit is on disk and readers wait for it, so that a check and its write are
// one step, and nobody sees what a crash takes back.
type locks struct {
	mu  sync.Mutex
	ids map[string]*idLock
}

type idLock struct {
	sync.RWMutex
	users int // who hold it or wait for it
}

// lock locks ids for writing. Several are locked in their order, so that two
// callers never wait for each other.
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

func (l *locks) leave(ids []string, held []*idLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, lock := range held {
		if lock.users--; lock.users == 0 {
			delete(l.ids, ids[i])
		}
	}
}
