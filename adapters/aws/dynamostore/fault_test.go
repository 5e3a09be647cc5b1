package dynamostore_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/dynamostore"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/faults"
	"github.com/taskgate/taskgate/tests/wait"
)

func record() *task.Record {
	now := task.At(time.Now())
	return &task.Record{
		ID: task.NewID(), TaskName: "send_email", Status: task.Ready, EnqueuedAt: now, Args: "[]", Kwargs: "{}",
		Backend: "default", QueueName: "mail", Owner: "alice", DeleteAfter: now.Plus(time.Hour),
	}
}

var (
	puts    = faultproxy.Operation("PutItem")
	gets    = faultproxy.Operation("GetItem")
	queries = faultproxy.Operation("Query")
)

func behindProxy(t *testing.T) (*emulators.Endpoint, *faultproxy.Proxy, *dynamostore.Table) {
	t.Helper()
	t.Parallel()
	e := emulators.DynamoDB(t)
	create(t, e.URL())
	p := faultproxy.New(t, e.URL())
	return e, p, dynamostore.New(client(p.URL()), table, dynamostore.Options{})
}

// unavailable wants that kind of error, which tells the client nothing of the
// SDK's.
func unavailable(t testing.TB, what string, err error) *task.Error {
	t.Helper()
	var e *task.Error
	if !errors.As(err, &e) || e.Kind != task.Unavailable || !strings.HasPrefix(e.Msg, "the store") || len(e.Msg) > 80 {
		t.Fatalf("%s: %v, want %s", what, err, task.Unavailable)
	}
	return e
}

func create1(ctx context.Context, s *dynamostore.Table) error {
	_, err := s.Create(ctx, record())
	return err
}

// recovers calls until a call succeeds.
func recovers(t testing.TB, s *dynamostore.Table) {
	t.Helper()
	wait.Succeeds(t, "a recovery", func() error { return create1(t.Context(), s) })
}

// TestReadsOfOneTaskAreConsistent: the emulator's always are, so what counts is
// what is asked for.
func TestReadsOfOneTaskAreConsistent(t *testing.T) {
	_, p, s := behindProxy(t)
	r := record()
	if _, err := s.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	reads := p.Requests(faultproxy.Operation("GetItem"))
	if len(reads) != 1 || !bytes.Contains(reads[0].Body, []byte(`"ConsistentRead":true`)) {
		t.Errorf("%d reads: %s", len(reads), reads[0].Body)
	}
}

func TestFaultsAreBoundedAndRecovered(t *testing.T) {
	for _, name := range []string{"Create", "Get", "Replace", "List"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := emulators.DynamoDB(t)
			create(t, e.URL())
			p := faults.To(t, e.URL())
			s := dynamostore.New(client(p.URL()), table, dynamostore.Options{})
			there := record()
			if _, err := s.Create(t.Context(), there); err != nil {
				t.Fatal(err)
			}
			faults.Run(t, faults.Subject{
				TCP: p.TCP, Faults: p.Faults(operation(name), faults.AWS, false), Says: "the store", Long: name != "Create",
				Call: func(ctx context.Context) error {
					switch name {
					case "Create":
						return create1(ctx, s)
					case "List":
						_, err := s.List(ctx, task.Query{Limit: 10})
						return err
					}
					r, err := s.Get(ctx, there.ID)
					if err == nil && name == "Replace" {
						err = s.Replace(ctx, r)
					}
					return err
				},
			})
		})
	}
}

// operation matches DynamoDB's name for what a method of the store does.
func operation(method string) faultproxy.Match {
	return map[string]faultproxy.Match{"Create": puts, "Get": gets, "Replace": puts, "List": queries}[method]
}

func TestRequestIsRetriedOnce(t *testing.T) {
	_, p, s := behindProxy(t)
	p.Next(puts, faultproxy.AWSThrottled)
	if err := create1(t.Context(), s); err != nil || p.Count(puts) != 2 {
		t.Errorf("throttled once: %v after %d attempts", err, p.Count(puts))
	}
	p.Always(puts, faultproxy.AWSUnavailable)
	unavailable(t, "Create", create1(t.Context(), s))
	if n := p.Count(puts); n != 4 {
		t.Errorf("%d attempts, want 2 and 2", n)
	}
}

func TestASilentPeerIsBoundedAndOneSilentConnectionIsReplaced(t *testing.T) {
	_, p, s := behindProxy(t)
	p.Next(puts, faultproxy.SilentBefore)
	if err := create1(t.Context(), s); err != nil {
		t.Error(err)
	}
	p.Always(puts, faultproxy.SilentAfter)
	start := time.Now()
	unavailable(t, "Create", create1(t.Context(), s))
	if took := time.Since(start); took > awssdk.AnswerTime+wait.Slack {
		t.Errorf("the answer took %v", took)
	}
}

// TestAWriteWhoseAnswerWasLostKnowsItself: the SDK repeats it, and it meets its
// own first. Without a key nobody else can have that id.
func TestAWriteWhoseAnswerWasLostKnowsItself(t *testing.T) {
	_, p, s := behindProxy(t)
	for name, f := range map[string]faultproxy.Fault{"reset": faultproxy.ResetAfter, "silent": faultproxy.SilentAfter} {
		r := record()
		p.Next(puts, f)
		existing, err := s.Create(t.Context(), r)
		if err != nil || existing != nil {
			t.Fatalf("%s: Create: %v, %v", name, existing, err)
		}
		r.Status = task.Running
		p.Next(puts, f)
		if err := s.Replace(t.Context(), r); err != nil {
			t.Fatalf("%s: Replace: %v", name, err)
		}
		got, err := s.Get(t.Context(), r.ID)
		if err != nil || got.Status != task.Running || got.Revision != r.Revision {
			t.Errorf("%s: stored %+v, %v, want revision %s", name, got, err, r.Revision)
		}
		other := record()
		other.ID = r.ID
		if existing, err := s.Create(t.Context(), other); err != nil || existing == nil || existing.Revision != r.Revision {
			t.Errorf("%s: another's Create: %+v, %v", name, existing, err)
		}
	}
}

// TestWhatIsThereIsTakenFromTheRefusal, where the service returns it: it is as
// consistent as a read, and spares one.
func TestWhatIsThereIsTakenFromTheRefusal(t *testing.T) {
	_, p, s := behindProxy(t)
	r := record()
	p.Next(puts, faultproxy.Status(400, `{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"The conditional request failed",`+
		`"Item":{"id":{"S":"`+r.ID+`"},"task_name":{"S":"other"},"enqueued_at":{"S":"2026-11-23T10:00:00.123456Z"},"revision":{"N":"7"}}}`,
		"Content-Type", "application/x-amz-json-1.0"))
	existing, err := s.Create(t.Context(), r)
	if err != nil || existing == nil || existing.TaskName != "other" || existing.Revision != "7" || p.Count(gets) != 0 {
		t.Errorf("%+v, %v, and %d reads", existing, err, p.Count(gets))
	}
}

func TestANearlyFullItemIsWrittenReadListedAndReplaced(t *testing.T) {
	_, _, s := behindProxy(t)
	r := record()
	r.Args = `["` + strings.Repeat("x", dynamostore.MaxPayloadBytes-4) + `"]`
	if _, err := s.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	r.ReturnValue = `"` + strings.Repeat("y", 142<<10) + `"`
	r.Status = task.Successful
	if err := s.Replace(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(t.Context(), r.ID)
	if err != nil || got.Args != r.Args || got.ReturnValue != r.ReturnValue {
		t.Errorf("Get: %v", err)
	}
	page, err := s.List(t.Context(), task.Query{Limit: 10})
	if err != nil || len(page.Records) != 1 || page.Records[0].ReturnValue != r.ReturnValue {
		t.Errorf("List: %d records, %v", len(page.Records), err)
	}
	r.ReturnValue += strings.Repeat(" ", 2<<10)
	if err := s.Replace(t.Context(), r); task.KindOf(err) != task.Oversize || strings.Contains(err.(*task.Error).Msg, "ValidationException") {
		t.Errorf("beyond 400 KB: %v", err)
	}
}

// TestAListingsWorkIsBounded: each shard is asked three times at most, however
// little matches, and no scan is ever made.
func TestAListingsWorkIsBounded(t *testing.T) {
	_, p, s := behindProxy(t)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 25 {
				if err := create1(t.Context(), s); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for name, q := range map[string]task.Query{"everything": {Limit: 50}, "nothing": {Limit: 1, Owner: "nobody"}} {
		before := p.Count(queries)
		if _, err := s.List(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		n, most := p.Count(queries)-before, map[string]int{"everything": 16, "nothing": 48}[name]
		if n > most || p.Count(faultproxy.Operation("Scan")) != 0 {
			t.Errorf("%s: %d queries, want %d at most", name, n, most)
		}
	}
}

func TestAStoreThatIsKilledRecovers(t *testing.T) {
	t.Parallel()
	e := emulators.DynamoDB(t)
	s := create(t, e.URL())
	r := record()
	if _, err := s.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	e.Kill()
	unavailable(t, "Create", create1(t.Context(), s))
	e.Restart()
	recovers(t, s)
	if _, err := s.Get(t.Context(), r.ID); err != nil {
		t.Error(err)
	}
	missing := dynamostore.New(client(e.URL()), "no-such-table", dynamostore.Options{})
	if e := unavailable(t, "a missing table", create1(t.Context(), missing)); !strings.Contains(e.Msg, "missing") {
		t.Error(e)
	}
}

// TestTheDefinitionIsWhatIsCreated reads the table back.
func TestTheDefinitionIsWhatIsCreated(t *testing.T) {
	t.Parallel()
	e := emulators.DynamoDB(t)
	create(t, e.URL())
	name := table
	out, err := client(e.URL()).DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &name})
	if err != nil {
		t.Fatal(err)
	}
	indexes := out.Table.GlobalSecondaryIndexes
	if len(indexes) != 1 || *indexes[0].IndexName != dynamostore.ListingIndex || len(indexes[0].KeySchema) != 2 || len(out.Table.KeySchema) != 1 {
		t.Errorf("%+v", out.Table)
	}
}
