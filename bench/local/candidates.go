package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/go-json-experiment/json"
)

// task is a request of 300 bytes. With delay_seconds it stays in the queue.
func task(name, rest string) string {
	t := `{"task_name":"` + name + `","args":["someone@example.com","Your order has been shipped"],"kwargs":{"order":12345678901234567890,"locale":"en-GB","text":""}` + rest + `}`
	return strings.Replace(t, `"text":"`, `"text":"`+strings.Repeat("x", 300-len(t)), 1)
}

var (
	delayed  = task("send_email", `,"delay_seconds":3600`)
	dueNow   = task("echo", "")
	aHundred = `{"tasks":[` + strings.Repeat(delayed+",", 99) + delayed + `]}`
)

// candidate is one way to enqueue durably, or a floor.
type candidate struct {
	name    string
	enqueue string // the body; "" = batches alone
	batch   bool
	start   func(b *bench, dir string) (*process, error)
	get     func(p *process) ([][]byte, error) // requests for finished tasks; nil = cannot
}

// The names of those that goals speak of.
const (
	taskgate = "taskgate"
	noStore  = "no store: the same handler"
	asynq    = "asynq, Redis with appendfsync always"
	river    = "River, PostgreSQL"
)

var candidates = []candidate{
	{name: taskgate, enqueue: delayed, batch: true, get: finishedTasks,
		start: func(b *bench, dir string) (*process, error) { return b.taskgate(dir) }},
	{name: "taskgate, delivering to a worker that takes messages in", enqueue: dueNow,
		start: func(b *bench, dir string) (*process, error) {
			return b.taskgate(dir, "TASKGATE_WORKER_URL="+b.worker.URL)
		}},
	{name: "taskgate, its demo worker running each task", enqueue: dueNow,
		start: func(b *bench, dir string) (*process, error) { return b.taskgate(dir) }},
	{name: noStore, enqueue: delayed, batch: true,
		get: func(*process) ([][]byte, error) {
			return [][]byte{get("/v1/tasks/01890a5d-ac96-774b-bcce-b302099a8057")}, nil
		},
		start: func(b *bench, dir string) (*process, error) {
			return start(dir+"/log", b.program("handler"), "none")
		}},
	{name: asynq, enqueue: dueNow,
		start: func(b *bench, dir string) (*process, error) {
			redis, err := startRedis(dir, freePort(), "always")
			if err != nil {
				return nil, err
			}
			b.beneath = redis
			return start(dir+"/log", b.program("with-asynq"), redis.addr)
		}},
	{name: river, enqueue: dueNow, batch: true,
		start: func(b *bench, dir string) (*process, error) {
			return start(dir+"/log", b.program("with-river"), postgresURL(b.postgres))
		}},
	{name: river + ", InsertManyFast", batch: true,
		start: func(b *bench, dir string) (*process, error) {
			return start(dir+"/log", b.program("with-river"), postgresURL(b.postgres), "copy")
		}},
}

// bench is what the candidates are started from.
type bench struct {
	dir      string // of the programs, and of everybody's data
	worker   *httptest.Server
	postgres *process // nil = skipped
	beneath  *process // the candidate's own server, stopped after it; nil = none
}

func (b *bench) program(name string) string { return filepath.Join(b.dir, name) }

// taskgate starts the product's own binary.
func (b *bench) taskgate(dir string, environ ...string) (*process, error) {
	environ = append(environ, "TASKGATE_DATA="+dir+"/data", "TASKGATE_ADDR=127.0.0.1:0")
	return startWith(dir+"/log", environ, b.program("taskgate"))
}

// takesIn is a worker that acknowledges every message and does nothing.
func takesIn() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
}

// turn starts a candidate on nothing, measures it, and stops it. It is killed:
// what it would do at its end is nobody else's business.
func (b *bench) turn(ctx context.Context, dir string, c candidate, measure func(*process) error) error {
	p, err := c.start(b, dir)
	defer func() {
		p.stop(syscall.SIGKILL)
		b.beneath.stop(syscall.SIGKILL)
		b.beneath = nil
	}()
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = measure(p)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// finishedTasks has tasks run, and returns requests for them.
func finishedTasks(p *process) (requests [][]byte, err error) {
	batch := `{"tasks":[` + strings.Repeat(dueNow+",", 99) + dueNow + `]}`
	for range 10 {
		answer, err := once(p.addr, post("/v1/tasks/batch", batch), 200)
		if err != nil {
			return nil, err
		}
		var accepted struct {
			Items []struct {
				Task struct {
					ID string `json:"id"`
				} `json:"task"`
			} `json:"items"`
		}
		if err := json.Unmarshal(answer, &accepted); err != nil {
			return nil, err
		}
		for _, item := range accepted.Items {
			path := "/v1/tasks/" + item.Task.ID
			answer, err := once(p.addr, get(path+"?wait=20"), 200)
			if err == nil && !strings.Contains(string(answer), `"status":"SUCCESSFUL"`) {
				err = fmt.Errorf("it has not finished: %s", answer)
			}
			if err != nil {
				return nil, err
			}
			requests = append(requests, get(path))
		}
	}
	return requests, nil
}
