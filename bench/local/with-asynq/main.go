// Command with-asynq is asynq behind the rig's handler. Its argument is the
// address of a Redis. With a ledger's URL after it, it is a worker that marks
// tasks there instead.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/hibiken/asynq"

	"github.com/taskgate/taskgate/bench/local/rig"
)

func main() {
	if len(os.Args) > 2 {
		if err := work(os.Args[1], rig.Ledger(os.Args[2])); err != nil {
			log.Fatal(err)
		}
		return
	}
	client := asynq.NewClient(asynq.RedisClientOpt{Addr: os.Args[1]})
	defer client.Close()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := client.Ping() // Redis may still be reading its log
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			log.Fatal(err)
		}
	}
	if err := rig.Serve(func(string) http.Handler { return rig.Handler(peer{client}) }); err != nil {
		log.Fatal(err)
	}
}

type peer struct{ client *asynq.Client }

func (p peer) Enqueue(ctx context.Context, t rig.Task) (string, error) {
	payload, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	var options []asynq.Option
	if t.Key != "" { // its own way to know a repeated task, for as long as it keeps that
		options = []asynq.Option{asynq.TaskID(t.Key), asynq.Retention(time.Hour)}
	}
	info, err := p.client.EnqueueContext(ctx, asynq.NewTask(t.Name, payload), options...)
	switch {
	case errors.Is(err, asynq.ErrTaskIDConflict):
		return t.Key, nil
	case err != nil:
		return "", err
	}
	return info.ID, nil
}

// work runs a worker with asynq's defaults, but that it retries soon and looks
// often: its lease is 30 s and cannot be set.
func work(addr string, ledger rig.Ledger) error {
	server := asynq.NewServer(asynq.RedisClientOpt{Addr: addr}, asynq.Config{
		Concurrency:              64,
		RetryDelayFunc:           func(int, error, *asynq.Task) time.Duration { return time.Second },
		TaskCheckInterval:        100 * time.Millisecond,
		DelayedTaskCheckInterval: time.Second,
	})
	return server.Run(asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
		var payload rig.Task
		if err := json.Unmarshal(t.Payload(), &payload); err != nil {
			return err
		}
		return ledger.Mark(ctx, payload.Args)
	}))
}

func (peer) EnqueueBatch(context.Context, []rig.Task) (int, error) {
	return 0, errors.New("asynq has no batch")
}
