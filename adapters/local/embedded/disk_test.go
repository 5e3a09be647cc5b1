package embedded_test

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/taskgate/taskgate/adapters/local/embedded"
	"github.com/taskgate/taskgate/core/task"
)

// failing is a disk whose writes fail with err while the switch is on.
func failing(disk vfs.FS, err error) (vfs.FS, *errorfs.Toggle) {
	writes := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && strings.HasSuffix(op.Path, ".log") {
			return &fs.PathError{Op: "write", Path: op.Path, Err: err}
		}
		return nil
	})}
	return errorfs.Wrap(disk, writes), writes
}

func TestAFullOrBrokenDiskRefusesAndLosesNothing(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS} {
		t.Run(cause.Error(), func(t *testing.T) {
			mem := vfs.NewCrashableMem()
			disk, broken := failing(mem, cause)
			db, err := embedded.Open("data", embedded.Options{FS: disk})
			check(t, err)
			before := enqueue(t, dispatcher(db, 0), time.Time{})
			broken.On()
			refused := newRecord(time.Now())
			_, err = createAndDispatch(t.Context(), dispatcher(db, 0), refused, outgoing(refused.ID, time.Time{}))
			if task.KindOf(err) != task.Unavailable || !strings.Contains(err.Error(), cause.Error()) {
				t.Fatalf("the write was answered %v", err)
			}
			select {
			case <-db.Failed():
			case <-time.After(20 * time.Second):
				t.Fatal("nobody is told that the disk failed")
			}
			// Nothing can be believed any more but what is on the disk.
			if _, err := db.Get(t.Context(), before); task.KindOf(err) != task.Unavailable {
				t.Errorf("a read afterwards: %v", err)
			}
			if err := db.Close(); err == nil || !strings.Contains(err.Error(), cause.Error()) {
				t.Errorf("Close says %v", err)
			}
			again := open(t, mem.CrashClone(vfs.CrashCloneCfg{}), embedded.Options{})
			if _, err := again.Get(t.Context(), before); err != nil {
				t.Errorf("what was answered before is gone: %v", err)
			}
			if d := claim(t, again); d.ID != before {
				t.Errorf("claimed %s, want %s", d.ID, before)
			}
			enqueue(t, dispatcher(again, 0), time.Time{})
		})
	}
}

func TestUnwritableDirectoryIsReportedAtStart(t *testing.T) {
	readOnly := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return &fs.PathError{Op: "write", Path: op.Path, Err: syscall.EROFS}
		}
		return nil
	}))
	db, err := embedded.Open("data", embedded.Options{FS: readOnly})
	if err == nil {
		db.Close()
		t.Fatal("it opened")
	}
	if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "data") {
		t.Errorf("%v names neither the directory nor the reason", err)
	}
}
