package embedded

import "sync"

// watches holds the ids of the records that callers of Watch wait for.
type watches struct {
	mu  sync.Mutex
	ids map[string]*watch
}

type watch struct {
	changed chan struct{}
	users   int
}

// Watch implements [task.Watcher].
func (d *DB) Watch(id string) (changed <-chan struct{}, stop func()) {
	w := &d.watches
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ids == nil {
		w.ids = map[string]*watch{}
	}
	watched := w.ids[id]
	if watched == nil {
		watched = &watch{changed: make(chan struct{})}
		w.ids[id] = watched
	}
	watched.users++
	return watched.changed, sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if watched.users--; watched.users == 0 && w.ids[id] == watched {
			delete(w.ids, id)
		}
	})
}

// notify wakes the watchers of a record. The caller has committed the change.
func (d *DB) notify(id string) {
	w := &d.watches
	w.mu.Lock()
	defer w.mu.Unlock()
	if watched := w.ids[id]; watched != nil {
		close(watched.changed)
		delete(w.ids, id)
	}
}
