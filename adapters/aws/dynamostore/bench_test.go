package dynamostore

import (
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
)

// BenchmarkItem measures how a new task's record becomes an item, and back.
func BenchmarkItem(b *testing.B) {
	r := &task.Record{
		ID: task.NewID(), TaskName: "app.tasks.send_email", Status: task.Ready, EnqueuedAt: at, Args: `["alice@example.com",1.10]`, Kwargs: `{"template":"welcome"}`,
		Backend: "default", QueueName: "mail", Owner: "alice", DeleteAfter: at.Plus(time.Hour), Dispatch: task.Dispatch{Target: "sqs", Route: "sqs"},
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encoded(b, r, "42", 7)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			item := encoded(b, r, "42", 7)
			b.StartTimer()
			if _, err := decode(item); err != nil {
				b.Fatal(err)
			}
		}
	})
}
