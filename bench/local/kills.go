package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A fire is what is killed under load, and how long the tasks last meanwhile.
type fire struct {
	name  string
	lasts int           // milliseconds of a task
	pause time.Duration // of each client between two tasks
	kill  func(*site) error
}

var fires = []fire{
	{"the store is killed", 0, 20 * time.Millisecond, (*site).killStore},
	{"the worker is killed", 50, 150 * time.Millisecond, (*site).killWorker},
}

// toll is what one contender went through.
type toll struct {
	kills, acknowledged, unknown int
	lost                         int // acknowledged, and never ran to its end
	begunTwice, endedTwice       int
	unasked                      int // ran, though never acknowledged
	records                      string
	err                          error
}

// kills lets every contender burn, one after the other, and waits for all of
// them together until what they left lying has been taken up again.
func (b *bench) kills(ctx context.Context) error {
	if err := b.buildAll("taskgate", "with-taskgate", "with-asynq", "with-river", "with-goqite"); err != nil {
		return err
	}
	tolls := map[string]map[string]toll{}
	var mu, burning sync.Mutex
	var wg sync.WaitGroup
	for _, f := range fires {
		if !strings.Contains(f.name, *under) {
			continue
		}
		tolls[f.name] = map[string]toll{}
		for _, c := range contenders {
			wg.Go(func() {
				t := b.burn(ctx, f, c, &burning)
				mu.Lock()
				tolls[f.name][c.name] = t
				mu.Unlock()
			})
		}
	}
	wg.Wait()
	return printTolls(tolls)
}

// burn has 32 clients enqueue while parts of the contender are killed.
func (b *bench) burn(ctx context.Context, f fire, c contender, burning *sync.Mutex) (t toll) {
	burning.Lock()
	free := sync.OnceFunc(burning.Unlock)
	defer free()
	dir, err := os.MkdirTemp(b.dir, "fire")
	if err != nil {
		return toll{err: err}
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return toll{err: err}
	}
	l := newLedger()
	defer l.server.Close()
	s := &site{bench: b, dir: dir, ledger: l.server.URL}
	defer s.stop()
	if err := c.open(s); err != nil {
		return toll{err: err}
	}
	if err := s.startStore(); err != nil {
		return toll{err: err}
	}
	if err := s.startWorker(); err != nil {
		return toll{err: err}
	}
	fmt.Fprintf(os.Stderr, "%s: %s\n", f.name, c.name)
	loaded, stop := context.WithCancel(ctx)
	defer stop()
	var clients sync.WaitGroup
	for n := range 32 {
		clients.Go(func() { l.client(loaded, s, f, n) })
	}
	for ; t.kills < *killed && ctx.Err() == nil; t.kills++ {
		before := l.count()
		for deadline := time.Now().Add(time.Minute); l.count() < before+64; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				return toll{err: fmt.Errorf("%s takes no tasks after %d kills", c.name, t.kills)}
			}
		}
		time.Sleep(rand.N(time.Second)) // so that each kill hits another step
		if err := f.kill(s); err != nil {
			return toll{err: fmt.Errorf("%s after %d kills: %w", c.name, t.kills, err)}
		}
	}
	time.Sleep(time.Second) // so that the last kill's tasks are repeated
	stop()
	clients.Wait()
	free() // the next one burns while this one recovers
	select {
	case <-time.After(*quiet):
	case <-ctx.Done():
		return toll{err: ctx.Err()}
	}
	l.reckon(&t)
	if c.name == taskgate {
		t.records, t.err = records(s.front.Load().(string), l)
	}
	return t
}

// ledger is what the clients and the handlers say. It is never killed.
type ledger struct {
	server *httptest.Server

	mu           sync.Mutex
	acknowledged map[string]bool
	begun, ended map[string]int
	unknown      int
}

func newLedger() *ledger {
	l := &ledger{acknowledged: map[string]bool{}, begun: map[string]int{}, ended: map[string]int{}}
	mux := http.NewServeMux()
	note := func(in map[string]int) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) {
			l.mu.Lock()
			defer l.mu.Unlock()
			in[r.PathValue("id")]++
		}
	}
	mux.HandleFunc("POST /begin/{id}", note(l.begun))
	mux.HandleFunc("POST /end/{id}", note(l.ended))
	l.server = httptest.NewServer(mux)
	return l
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acknowledged)
}

// client enqueues, and repeats each request with its key until it is accepted.
func (l *ledger) client(ctx context.Context, s *site, f fire, n int) {
	client := &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for i := 0; ctx.Err() == nil; i++ {
		id := fmt.Sprintf("%d-%d", n, i)
		body := fmt.Sprintf(`{"task_name":"mark","args":[%q,%d],"kwargs":{}}`, id, f.lasts)
		for ctx.Err() == nil && !l.enqueue(client, s.front.Load().(string), id, body) {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(f.pause)
	}
}

func (l *ledger) enqueue(client *http.Client, addr, id, body string) (accepted bool) {
	req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/v1/tasks", bytes.NewReader([]byte(body)))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", id)
	resp, err := client.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return false // nothing was sent
	}
	if err == nil {
		resp.Body.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || resp.StatusCode != http.StatusAccepted {
		l.unknown++
		return false
	}
	l.acknowledged[id] = true
	return true
}

func (l *ledger) reckon(t *toll) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t.acknowledged, t.unknown = len(l.acknowledged), l.unknown
	for id := range l.acknowledged {
		if l.ended[id] == 0 {
			t.lost++
		}
	}
	for _, n := range l.begun {
		if n > 1 {
			t.begunTwice++
		}
	}
	for id, n := range l.ended {
		if n > 1 {
			t.endedTwice++
		}
		if !l.acknowledged[id] {
			t.unasked++
		}
	}
}

// command is a command without this process' environment.
func command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	return cmd
}

func printTolls(tolls map[string]map[string]toll) error {
	var errs []error
	for _, f := range fires {
		if tolls[f.name] == nil {
			continue
		}
		fmt.Printf("\nUnder the load of 32 clients %s with kill -9 (tasks of %d ms):\n\n", f.name, f.lasts)
		fmt.Println("| | kills | acknowledged | calls with no answer, repeated | acknowledged and lost | begun more than once | ran to the end more than once |\n|---|---|---|---|---|---|---|")
		for _, c := range contenders {
			t := tolls[f.name][c.name]
			if errors.Is(t.err, exec.ErrNotFound) {
				fmt.Fprintf(os.Stderr, "SKIPPED: %s: %v\n", c.name, t.err)
				continue
			}
			if t.err != nil {
				errs = append(errs, fmt.Errorf("%s, %s: %w", f.name, c.name, t.err))
				continue
			}
			begun := "–"
			if f.lasts > 0 {
				begun = fmt.Sprint(t.begunTwice)
			}
			fmt.Printf("| %s | %d | %d | %d | %d | %s | %d |\n", c.name, t.kills, t.acknowledged, t.unknown, t.lost, begun, t.endedTwice)
			if t.unasked > 0 {
				fmt.Fprintf(os.Stderr, "%s, %s: %d tasks ran that were never acknowledged\n", f.name, c.name, t.unasked)
			}
		}
		if r := tolls[f.name][taskgate].records; r != "" {
			fmt.Printf("\n%s: %s.\n", strings.ToUpper(taskgate[:1])+taskgate[1:], r)
		}
	}
	return errors.Join(errs...)
}
