package worker

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/task"
)

// Puller fetches messages from a service whose capabilities say supports_receive:
// the local binary with TASKGATE_WORKER_URL=none.
type Puller struct {
	Worker *Worker // its EventsBase is the service's base URL

	Queue       string // the queue's name; "" = default
	Backend     string // the backend's alias; "" = default
	Key         string // an API key with the scope work; "" = the service needs none
	Concurrency int    // how many tasks run at once, from 1; 0 = 10
}

// The limits of a fetch: task.ParseReceive refuses more.
const (
	maxFetch  = 32
	fetchWait = 20 * time.Second
)

// Run fetches messages and processes them until ctx ends. Then it waits for the
// running tasks, as [Worker.Process] describes, and returns nil. It returns an error
// when the service refuses the fetch for good, for example because of the key. It
// retries for as long as the service cannot be reached.
func (p Puller) Run(ctx context.Context) error {
	slots := p.Concurrency
	if slots == 0 {
		slots = 10
	}
	free := make(chan struct{}, slots)
	var running sync.WaitGroup
	defer running.Wait()
	pause := firstWait
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		messages, again, err := p.fetch(ctx, min(maxFetch, slots-len(free)+1))
		<-free
		switch {
		case ctx.Err() != nil:
			p.giveBack(messages)
			return nil
		case err != nil && !again:
			return err
		case err != nil:
			p.Worker.log.WarnContext(ctx, "cannot fetch messages", "queue_name", p.Queue, "error", err)
			wait(ctx, pause)
			pause = min(2*pause, longWait)
			continue
		}
		pause = firstWait
		for _, d := range messages {
			free <- struct{}{} // the fetch asked for no more than are free
			running.Go(func() {
				defer func() { <-free }()
				p.Worker.Process(ctx, d) // its events move the message
			})
		}
	}
}

// fetch returns at most limit messages. again says that a later try may succeed.
func (p Puller) fetch(ctx context.Context, limit int) (messages []Delivery, again bool, err error) {
	queue, backend := p.Queue, p.Backend
	if queue == "" {
		queue = "default"
	}
	if backend == "" {
		backend = "default"
	}
	body, err := json.Marshal(map[string]any{
		"backend": backend, "max": limit, "wait": fetchWait.Seconds(), "visibility_seconds": int(p.Worker.lease.Seconds()),
	})
	if err != nil {
		return nil, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWait+tryTimeout)
	defer cancel()
	to := p.Worker.base.JoinPath("v1", "queues", url.PathEscape(queue), "receive").String()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, false, err
	}
	req.Header.Set("Content-Type", "application/json")
	if p.Key != "" {
		req.Header.Set("Authorization", "Bearer "+p.Key)
	}
	res, err := p.Worker.client.Do(req)
	if err != nil {
		return nil, true, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500 || err != nil:
		return nil, true, errors.Join(fmt.Errorf("answered %d", res.StatusCode), err)
	case res.StatusCode != http.StatusOK:
		return nil, false, fmt.Errorf("worker: the service refuses to hand out messages: %d %s", res.StatusCode, clip(text))
	}
	var answer struct {
		Items []struct {
			Message    jsontext.Value    `json:"message"`
			Attributes map[string]string `json:"attributes"`
		} `json:"items"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, true, errors.New("the answer cannot be read")
	}
	for _, item := range answer.Items {
		messages = append(messages, Delivery{Body: item.Message, Attributes: item.Attributes})
	}
	return messages, false, nil
}

// giveBack releases messages that were fetched while the worker was stopping.
func (p Puller) giveBack(messages []Delivery) {
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	for _, d := range messages {
		if m, _, err := p.Worker.read(d); err == nil {
			e := task.Event{Type: task.EventReleased, DeliveryID: rand.Text()}
			_, _ = newReporter(p.Worker.client, m).send(ctx, e, stopGrace) // else it comes again when its visibility ends
		}
	}
}

// wait waits for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// clip shortens a problem for an error.
func clip(text []byte) []byte { return text[:min(len(text), 300)] }
