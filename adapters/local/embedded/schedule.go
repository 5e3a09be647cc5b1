package embedded

import (
	"math"
	"sync"
)

// schedule is what is known of the queue in memory: who has claimed what, where
// the next entry may be, and who waits for it. Claims are not stored: after a
// restart everything that was not acknowledged is due again at once.
type schedule struct {
	mu      sync.Mutex
	low     int64             // no unclaimed entry is due before it, so that no scan passes the removed ones
	claims  map[string]uint64 // id → the number of its claim
	claimed uint64            // the latest number
	until   int64             // the instant that the waiting Claims wait for
	changed chan struct{}     // closed when something is due before until
}

func (s *schedule) init() {
	s.low, s.until = math.MinInt64, math.MinInt64
	s.claims = map[string]uint64{}
	s.changed = make(chan struct{})
}

// added tells that an entry with this instant is in the database.
func (s *schedule) added(due int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(due)
}

func (s *schedule) add(due int64) {
	s.low = min(s.low, due)
	if due < s.until {
		close(s.changed)
		s.changed = make(chan struct{})
		s.until = math.MinInt64
	}
}

// claim gives the entry a new claim; s.mu is held. False = it has one.
func (s *schedule) claim(id string) (uint64, bool) {
	if _, taken := s.claims[id]; taken {
		return 0, false
	}
	s.claimed++
	s.claims[id] = s.claimed
	return s.claimed, true
}

// holds reports whether the claim is still the entry's.
func (s *schedule) holds(id string, claim uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claims[id] == claim
}

// forget ends any claim on the entry: it is gone.
func (s *schedule) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.claims, id)
}

// requeued ends any claim on the entry: it is due again.
func (s *schedule) requeued(id string, due int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.claims, id)
	s.add(due)
}

// drop ends this claim, if it is still the entry's.
func (s *schedule) drop(id string, claim uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims[id] == claim {
		delete(s.claims, id)
	}
}
