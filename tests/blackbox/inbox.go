package blackbox

import (
	"context"
	"sync"

	"github.com/taskgate/taskgate/core/task"
)

// Inbox keeps the messages that a target delivered until a case asks for its
// own. Its Receive fits [Target].
type Inbox struct {
	mu       sync.Mutex
	messages map[string]task.Message
	arrived  chan struct{} // closed and replaced when a message comes
}

// NewInbox returns an empty inbox.
func NewInbox() *Inbox {
	return &Inbox{messages: map[string]task.Message{}, arrived: make(chan struct{})}
}

// Put takes a delivered message. It reports whether it is one of taskgate's.
func (b *Inbox) Put(body []byte, attributes map[string]string) bool {
	m, err := task.ParseMessage(body, attributes)
	if err != nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages[m.ID] = m
	close(b.arrived)
	b.arrived = make(chan struct{})
	return true
}

// Receive returns the task's message once it is there.
func (b *Inbox) Receive(ctx context.Context, taskID string) (task.Message, error) {
	for {
		b.mu.Lock()
		m, ok := b.messages[taskID]
		arrived := b.arrived
		b.mu.Unlock()
		if ok {
			return m, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return task.Message{}, ctx.Err()
		}
	}
}
