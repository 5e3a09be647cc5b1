package embedded_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/core/task"
)

func TestAcknowledgedTaskSurvivesACrash(t *testing.T) {
	for seed := range uint64(10) {
		mem := vfs.NewCrashableMem()
		if err := survives(t, mem, mem, seed); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// TestTheCrashTestSeesAMissingSync proves the test above: on a disk whose sync
// does nothing, tasks are lost and it says so.
func TestTheCrashTestSeesAMissingSync(t *testing.T) {
	mem := vfs.NewCrashableMem()
	if err := survives(t, unsynced{mem}, mem, 0); err == nil {
		t.Error("nothing was lost on a disk that does not sync")
	}
}

// survives enqueues on fs, crashes in the middle and reports what an answered
// call had promised and the disk no longer has. Whatever was not synced by then
// is lost in part at random, so that the last write may be torn.
func survives(t *testing.T, fs vfs.FS, mem *vfs.MemFS, seed uint64) error {
	db, err := embedded.Open("data", embedded.Options{FS: fs})
	if err != nil {
		return err
	}
	defer db.Close()
	q := dispatcher(db, 0)
	var mu sync.Mutex
	var answered []string
	crash := make(chan struct{})
	var wg sync.WaitGroup
	var crashing sync.Once
	for worker := range 8 {
		wg.Go(func() {
			for {
				select {
				case <-crash:
					return
				default:
				}
				ids := enqueueAll(t, q, 1+worker%2*9) // some by one, some by ten
				mu.Lock()
				if answered = append(answered, ids...); len(answered) >= 100 {
					crashing.Do(func() { close(crash) })
				}
				mu.Unlock()
			}
		})
	}
	<-crash
	mu.Lock()
	promised := append([]string(nil), answered...)
	mu.Unlock()
	config := vfs.CrashCloneCfg{}
	if fs == vfs.FS(mem) {
		config = vfs.CrashCloneCfg{UnsyncedDataPercent: int(seed * 10), RNG: rand.New(rand.NewPCG(seed, seed))}
	}
	crashed := mem.CrashClone(config)
	wg.Wait()

	after, err := embedded.Open("data", embedded.Options{FS: crashed})
	if err != nil {
		return err
	}
	defer after.Close()
	for _, id := range promised {
		if _, err := after.Get(t.Context(), id); err != nil {
			return fmt.Errorf("record: %w", err)
		}
		if d := claim(t, after); d.Count != 1 {
			return fmt.Errorf("%s was never delivered, but counts %d", d.ID, d.Count-1)
		}
	}
	return nil
}

// unsynced is a disk that lies: its files' syncs do nothing.
type unsynced struct{ vfs.FS }

func (u unsynced) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := u.FS.Create(name, c)
	return unsyncedFile{f}, err
}

func (u unsynced) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := u.FS.ReuseForWrite(old, name, c)
	return unsyncedFile{f}, err
}

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error                    { return nil }
func (unsyncedFile) SyncData() error                { return nil }
func (unsyncedFile) SyncTo(int64) (bool, error)     { return false, nil }
func (f unsyncedFile) Fd() uintptr                  { return vfs.InvalidFd }
func (f unsyncedFile) Preallocate(_, _ int64) error { return nil }

func TestDeliveriesAreCountedAndRepeatedAfterACrash(t *testing.T) {
	mem := vfs.NewCrashableMem()
	db := open(t, mem, embedded.Options{})
	id := enqueue(t, dispatcher(db, 2), time.Time{})
	for delivery := 1; delivery <= 2; delivery++ {
		if d := claim(t, db); d.ID != id || d.Count != delivery {
			t.Fatalf("claimed %+v, want delivery %d", d, delivery)
		}
		mem = mem.CrashClone(vfs.CrashCloneCfg{}) // a message that kills the process at once
		db = open(t, mem, embedded.Options{})
	}
	feed := db.Feed(mail)
	if ds, err := feed.Claim(t.Context(), 1); err != nil || len(ds) > 0 {
		t.Errorf("after its last delivery: %+v, %v", ds, err)
	}
	if d := claimDead(t, db); d.ID != id || !d.Dead {
		t.Errorf("claimed %+v, want a dead letter", d)
	}
}

func TestSecondOpenOfADirectoryIsRefused(t *testing.T) {
	if dir := os.Getenv("EMBEDDED_TEST_OPEN"); dir != "" {
		db, err := embedded.Open(dir, embedded.Options{})
		if err != nil {
			fmt.Println(err)
			return
		}
		db.Close()
		fmt.Println("opened")
		return
	}
	dir := t.TempDir()
	db, err := embedded.Open(dir, embedded.Options{})
	check(t, err)
	t.Chdir(dir)
	if _, err := embedded.Open(".", embedded.Options{}); err == nil || !strings.Contains(err.Error(), "another process may be using it") {
		t.Errorf("this process: %v", err)
	}
	other := func() string {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSecondOpenOfADirectoryIsRefused$")
		cmd.Env = append(os.Environ(), "EMBEDDED_TEST_OPEN="+dir)
		out, err := cmd.CombinedOutput()
		check(t, err)
		return string(out)
	}
	if out := other(); !strings.Contains(out, "another process may be using it") {
		t.Errorf("another process, while it is open: %s", out)
	}
	check(t, db.Close())
	if out := other(); !strings.Contains(out, "opened") {
		t.Errorf("another process, after it was closed: %s", out)
	}
}

func TestClosedDatabaseRefusesWorkAndWakesClaims(t *testing.T) {
	db := open(t, nil, embedded.Options{})
	feed := db.Feed(mail)
	waited := make(chan error)
	go func() {
		_, err := feed.Wait(t.Context())
		waited <- err
	}()
	check(t, db.Close())
	if err := <-waited; !errors.Is(err, embedded.ErrClosed) {
		t.Errorf("wait: %v", err)
	}
	if _, err := feed.Claim(t.Context(), 1); !errors.Is(err, embedded.ErrClosed) {
		t.Errorf("claim: %v", err)
	}
	if _, err := db.Get(t.Context(), task.NewID()); task.KindOf(err) != task.Unavailable || !errors.Is(err, embedded.ErrClosed) {
		t.Errorf("get: %v", err)
	}
}

func TestBatchIsAtomicAcrossACrash(t *testing.T) {
	mem := vfs.NewCrashableMem()
	q := dispatcher(open(t, mem, embedded.Options{}), 0)
	enqueueAll(t, q, 1)
	random := rand.New(rand.NewPCG(1, 2))
	for range 2 {
		done := make(chan []string)
		go func() { done <- enqueueAll(t, q, 50) }()
		var crashes []*vfs.MemFS
		var ids []string
		for ids == nil {
			crashes = append(crashes, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: random}))
			select {
			case ids = <-done:
			default:
			}
		}
		for _, crashed := range crashes {
			after := open(t, crashed, embedded.Options{})
			there := 0
			for _, id := range ids {
				if _, err := after.Get(t.Context(), id); err == nil {
					there++
				}
			}
			check(t, after.Close())
			if there != 0 && there != len(ids) {
				t.Errorf("%d of %d are there", there, len(ids))
			}
		}
	}
}
