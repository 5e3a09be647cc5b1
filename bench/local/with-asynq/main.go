// Command with-asynq is asynq behind the rig's handler. Its argument is the
// address of a Redis.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"

	"github.com/go-json-experiment/json"
	"github.com/hibiken/asynq"

	"github.com/taskgate/taskgate/bench/local/rig"
)

func main() {
	client := asynq.NewClient(asynq.RedisClientOpt{Addr: os.Args[1]})
	defer client.Close()
	if err := client.Ping(); err != nil {
		log.Fatal(err)
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
	info, err := p.client.EnqueueContext(ctx, asynq.NewTask(t.Name, payload))
	if err != nil {
		return "", err
	}
	return info.ID, nil
}

func (peer) EnqueueBatch(context.Context, []rig.Task) (int, error) {
	return 0, errors.New("asynq has no batch")
}
