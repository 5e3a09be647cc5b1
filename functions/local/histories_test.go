package main_test

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/histories"
)

// TestSoakHistoriesAreLinearizable: what clients are told of one task, all at
// once and with answers lost, is what one task alone could have said. The
// messages are due in an hour: the clients are the workers.
func TestSoakHistoriesAreLinearizable(t *testing.T) {
	o := histories.Options{Histories: 300}
	switch {
	case os.Getenv("TASKGATE_SOAK") != "":
		o = histories.Options{Histories: 100_000, Lapsing: 500, InFlight: 48}
	case testing.Short():
		o.Histories = 100
	}
	t.Parallel()
	histories.Check(t, historiesOf(start(t, t.TempDir(), historySecret)), o)
}

// TestSoakHistoriesAcrossKillsAreLinearizable: and it still is when the process
// dies again and again in the midst of it. What was answered is never unsaid.
func TestSoakHistoriesAcrossKillsAreLinearizable(t *testing.T) {
	o := histories.Options{Histories: 600, Seed: uint64(time.Now().UnixNano())}
	switch {
	case os.Getenv("TASKGATE_SOAK") != "":
		o.Histories = 20_000
	case testing.Short():
		o.Histories = 200
	}
	t.Parallel()
	dir, addr := t.TempDir(), "TASKGATE_ADDR=127.0.0.1:"+freePort(t)
	p := start(t, dir, historySecret, addr)
	target := historiesOf(p)
	target.Killed = true
	var report histories.Report
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		report, err = histories.Run(t.Context(), target, o)
	}()
	for kills := 0; ; kills++ {
		pause := time.NewTimer(200*time.Millisecond + rand.N(300*time.Millisecond)) // so that each kill hits another step
		select {
		case <-pause.C:
			p.kill()
			p = start(t, dir, historySecret, addr)
		case <-done:
			histories.Conclude(t, o.Seed, report, err)
			t.Logf("%d kills", kills)
			return
		}
	}
}

const historySecret = "TASKGATE_TOKEN_SECRETS=0123456789abcdef0123456789abcdef"

func historiesOf(p *process) histories.Target {
	_, secret, _ := strings.Cut(historySecret, "=")
	tokens := task.Tokens{Secrets: [][]byte{[]byte(secret)}}
	return histories.Target{
		BaseURL: p.url, Caller: "local", Atomic: true, Members: `,"delay_seconds":3600`,
		Token: func(id string) string { return tokens.Sign(id, task.Time{}, time.Now().Add(24*time.Hour)) },
	}
}
