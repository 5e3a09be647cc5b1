package simulation_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is a defect put into the service's own source: old, which must be
// there exactly once, becomes new wherever MUTANT is true.
type mutant struct{ name, file, old, new string }

var mutants = []mutant{
	{"the message precedes its record", "enqueue.go",
		"existing, err = s.Store.Create(ctx, d.rec)",
		"if MUTANT { d.backend.Dispatcher.Dispatch(ctx, d.out) }\n existing, err = s.Store.Create(ctx, d.rec)"},
	{"an unknown outcome is a 202", "enqueue.go",
		"case err == nil:\n\t\treturn s.accepted(s.mark",
		"case err == nil || MUTANT && !KindOf(err).Final():\n\t\treturn s.accepted(s.mark"},
	{"the record that is there is ignored", "enqueue.go",
		"case existing != nil:\n\t\treplay",
		"case existing != nil && !MUTANT:\n\t\treplay"},
	{"the mark precedes the message", "enqueue.go",
		"if keyed {\n\t\td.rec.Keyed.DispatchUntil = s.dispatchUntil(ctx)",
		"if keyed {\n\t\td.rec.Keyed.DispatchUntil, d.rec.Keyed.Dispatched = s.dispatchUntil(ctx), MUTANT"},
	{"a create of unknown outcome is left", "enqueue.go",
		"s.tombstone(ctx, r)",
		"if !MUTANT { s.tombstone(ctx, r) }"},
	{"the tombstone is forgotten", "enqueue.go",
		"s.tombstone(ctx, d.rec)",
		"if !MUTANT { s.tombstone(ctx, d.rec) }"},
	{"a tombstone for what has started", "enqueue.go",
		"if r.Finished() || r.Attempts() > 0 {\n\t\t\treturn false, nil\n\t\t}\n\t\tr.cancel",
		"if r.Finished() || r.Attempts() > 0 && !MUTANT {\n\t\t\treturn false, nil\n\t\t}\n\t\tr.cancel"},
	{"a keyed request is tombstoned", "enqueue.go",
		"case d.rec.Keyed != nil:\n\t\ts.freeDispatch",
		"case d.rec.Keyed != nil && !MUTANT:\n\t\ts.freeDispatch"},
	{"a failed dispatch is marked", "enqueue.go",
		"r.Keyed.DispatchUntil = Time{} }",
		"r.Keyed.DispatchUntil, r.Keyed.Dispatched = Time{}, MUTANT }"},
	{"a cancelled task's message is left", "enqueue.go",
		"case marked.Ended == endCancelled:",
		"case marked.Ended == endCancelled && !MUTANT:"},
	{"a refusal is not stored, and said", "enqueue.go",
		"case err != nil && keyed:",
		"case err != nil && keyed && !MUTANT:"},
	{"any request with the key will do", "enqueue.go",
		"case !same:",
		"case !same && !MUTANT:"},
	{"an id is everybody's", "enqueue.go",
		"if existing.Owner != call.Owner {",
		"if existing.Owner != call.Owner && !MUTANT {"},
	{"what was not dispatched is replayed", "enqueue.go",
		"case existing.Keyed.Dispatched ||",
		"case existing.Keyed.Dispatched || MUTANT ||"},
	{"the past is replayed", "enqueue.go",
		"if existing.Gone(now) {",
		"if existing.Gone(now) && !MUTANT {"},
	{"an unreadable record is none", "enqueue.go",
		"case err != nil:\n\t\treturn Accepted{}, err\n\t}\n\tif replay",
		"case err != nil && MUTANT: return Accepted{}, invalid\n case err != nil:\n\t\treturn Accepted{}, err\n\t}\n\tif replay"},
	{"an unfinished request is a 4xx", "enqueue.go",
		"return Accepted{}, &Error{\n\t\tKind: Unavailable, TaskID: existing.ID,",
		"if MUTANT { return Accepted{}, invalid }\n return Accepted{}, &Error{\n\t\tKind: Unavailable, TaskID: existing.ID,"},
	{"a batch's results are mixed up", "batch.go",
		"c.waiting[i].out = out[i]",
		"c.waiting[i].out = out[map[bool]int{false: i, true: len(out) - 1 - i}[MUTANT]]"},
	{"a key is everybody's", "id.go",
		"[]string{caller, key}",
		"[]string{map[bool]string{false: caller}[MUTANT], key}"},
	{"a final state is not final", "machine.go",
		"if r.Finished() {\n\t\treturn settled",
		"if r.Finished() && !MUTANT {\n\t\treturn settled"},
	{"a stale attempt reports", "machine.go",
		"if r.Status != Running || e.Attempt != r.Attempts() {",
		"if (r.Status != Running || e.Attempt != r.Attempts()) && !MUTANT {"},
	{"a lease is not held", "machine.go",
		"if r.leased(now) {\n\t\treturn false, false, &Error{\n\t\t\tKind: LeaseHeld, Msg: \"another",
		"if r.leased(now) && !MUTANT {\n\t\treturn false, false, &Error{\n\t\t\tKind: LeaseHeld, Msg: \"another"},
	{"a dead letter ends what is leased", "machine.go",
		"if r.leased(now) {\n\t\treturn false, false, &Error{\n\t\t\tKind: LeaseHeld, Msg: \"an ",
		"if r.leased(now) && !MUTANT {\n\t\treturn false, false, &Error{\n\t\t\tKind: LeaseHeld, Msg: \"an "},
	{"a repeated report is another", "machine.go",
		"if e.Attempt > len(r.AttemptEnds) ||",
		"if MUTANT || e.Attempt > len(r.AttemptEnds) ||"},
	{"a repeated start is another", "machine.go",
		"return r.leased(now) && e.DeliveryID == r.DeliveryID, false",
		"return r.leased(now) && e.DeliveryID == r.DeliveryID && !MUTANT, false"},
	{"what has started expires", "machine.go",
		"r.Attempts() == 0 && !r.ExpiresAt.IsZero()",
		"(r.Attempts() == 0 || MUTANT) && !r.ExpiresAt.IsZero()"},
	{"attempts are not counted", "machine.go",
		"return r.MaxAttempts > 0 && r.Attempts() >= r.MaxAttempts",
		"return r.MaxAttempts > 0 && r.Attempts() >= r.MaxAttempts && !MUTANT"},
	{"a started message is acknowledged", "machine.go",
		"r.Progress = nil\n\treturn true, false, nil",
		"r.Progress = nil\n\treturn true, MUTANT, nil"},
	{"a lapsed attempt is forgotten", "machine.go",
		"if r.Status == Running {\n\t\tr.endAttempt(endLapsed, now, &errLapsed)\n\t\tif",
		"if r.Status == Running {\n\t\tif !MUTANT { r.endAttempt(endLapsed, now, &errLapsed) }\n\t\tif"},
	{"what lapsed is not cancelled", "machine.go",
		"case r.Status == Running && r.CancelRequested && !r.leased(now):",
		"case r.Status == Running && r.CancelRequested && !r.leased(now) && !MUTANT:"},
	{"what is to be cancelled is tried again", "machine.go",
		"case r.CancelRequested:\n",
		"case r.CancelRequested && !MUTANT:\n"},
	{"a heartbeat shortens a lease", "machine.go",
		"r.LeaseUntil = latest(r.LeaseUntil, At(now.Add(e.lease())))",
		"r.LeaseUntil = latest(r.LeaseUntil, At(now.Add(e.lease()))); if MUTANT { r.LeaseUntil = At(now.Add(e.lease())) }"},
	{"a worker is not told of a cancel", "report.go",
		"CancelRequested: r.CancelRequested,",
		"CancelRequested: r.CancelRequested && !MUTANT,"},
	{"a delay is not kept", "message.go",
		"r.physicalQueue(), r.Group, r.RunAfter",
		"r.physicalQueue(), r.Group, map[bool]Time{false: r.RunAfter}[MUTANT]"},
	{"a cancel ends what is running", "read.go",
		"case r.leased(now):",
		"case r.leased(now) && !MUTANT:"},
	{"a plain task's cancel is prevented", "read.go",
		"known && b.Payload.carriesEnvelope()",
		"(known && b.Payload.carriesEnvelope() || MUTANT)"},
	{"everybody's tasks are listed", "list.go",
		"if !call.Admin {",
		"if !call.Admin && !MUTANT {"},
	{"a listing ends too soon", "list.go",
		"if q.After != (Position{}) {",
		"if q.After != (Position{}) && !MUTANT {"},
	{"everybody sees every task", "service.go",
		"return c.Admin || c.Owner == r.Owner",
		"return c.Admin || c.Owner == r.Owner || MUTANT"},
	{"a lost swap is taken for won", "service.go",
		"if err == nil {\n\t\t\treturn r, refused",
		"if err == nil || MUTANT && KindOf(err) == Conflict {\n\t\t\treturn r, refused"},
	{"an unknown write is taken for done", "service.go",
		"if KindOf(err) != Conflict {",
		"if MUTANT && KindOf(err) == Unavailable { return r, refused }\n if KindOf(err) != Conflict {"},
	{"the past is shown", "service.go",
		"case r.Gone(s.Now()) ||",
		"case r.Gone(s.Now()) && !MUTANT ||"},
	{"a former message reports", "report.go",
		"return w.enqueuedAt.IsZero() ||",
		"return MUTANT || w.enqueuedAt.IsZero() ||"},
	{"offloaded arguments are kept back", "report.go",
		"if e.Type == EventStarted && r.Offloaded {",
		"if e.Type == EventStarted && r.Offloaded && !MUTANT {"},
}

// switchSource is the file that chooses the defect of a process.
const switchSource = `package task

import "os"

var chosenMutant = os.Getenv("SIMULATION_MUTANT")
`

// TestMutantsAreFound puts each defect into the service, and expects the
// simulation to meet it.
func TestMutantsAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the simulation once more")
	}
	binary := buildMutants(t)
	if out, err := simulateMutant(t, binary, "", 100); err != nil {
		t.Fatalf("the service without a defect: %v\n%s", err, out)
	}
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			out, err := simulateMutant(t, binary, m.name, 4000)
			var exit *exec.ExitError
			_, found, ok := strings.Cut(out, ": seed ")
			if !errors.As(err, &exit) || !ok {
				t.Fatalf("was not found (%v):\n%s", err, out[max(0, len(out)-4000):])
			}
			found, _, _ = strings.Cut(found, "\n")
			t.Logf("seed %s", found)
		})
	}
}

// buildMutants builds this test with all defects in it, none of them chosen.
func buildMutants(t *testing.T) (binary string) {
	t.Helper()
	source, err := filepath.Abs("../../core/task")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	originals, patched := map[string]string{}, map[string]string{}
	for _, m := range mutants {
		if _, read := originals[m.file]; !read {
			b, err := os.ReadFile(filepath.Join(source, m.file))
			if err != nil {
				t.Fatal(err)
			}
			originals[m.file], patched[m.file] = string(b), string(b)
		}
		if n := strings.Count(originals[m.file], m.old); n != 1 {
			t.Fatalf("%s: its text is %d times in %s, want once: %q", m.name, n, m.file, m.old)
		}
		chosen := `(chosenMutant == "` + m.name + `")`
		patched[m.file] = strings.Replace(patched[m.file], m.old, strings.ReplaceAll(m.new, "MUTANT", chosen), 1)
	}
	patched["simulation_mutant.go"] = switchSource
	overlay := map[string]string{}
	for file, text := range patched {
		overlay[filepath.Join(source, file)] = filepath.Join(dir, file)
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(dir, "simulation.test")
	cmd := exec.Command("go", "test", "-c", "-vet=off", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the defects do not compile: %v\n%s", err, out)
	}
	return binary
}

// simulateMutant runs the simulation with one defect, until it is found.
func simulateMutant(t *testing.T, binary, name string, seeds int) (out string, err error) {
	cmd := exec.CommandContext(t.Context(), binary, "-test.run=^TestSimulation$", fmt.Sprint("-seeds=", seeds), "-test.timeout=2m")
	cmd.Env = append(os.Environ(), "SIMULATION_MUTANT="+name)
	b, err := cmd.CombinedOutput()
	return string(b), err
}
