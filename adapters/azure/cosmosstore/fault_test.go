package cosmosstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskgate/taskgate/adapters/azure/cosmosstore"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/faults"
	"github.com/taskgate/taskgate/tests/wait"

	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
)

func record() *task.Record {
	now := task.At(time.Now())
	return &task.Record{
		ID: task.NewID(), TaskName: "send_email", Status: task.Ready, EnqueuedAt: now, Args: "[]", Kwargs: "{}",
		Backend: "default", QueueName: "mail", Owner: "alice", DeleteAfter: now.Plus(time.Hour),
	}
}

// bounded is how long a call may take that the peer never answers: the store's
// own bound, and what a busy machine adds.
const bounded = 7 * time.Second

// unavailable makes a call, and wants a bounded answer of that kind, which
// tells the client nothing of the SDK's.
func unavailable(t testing.TB, what string, call func(context.Context) error) *task.Error {
	t.Helper()
	start := time.Now()
	err := call(t.Context())
	if took := time.Since(start); took > bounded+wait.Slack {
		t.Errorf("%s: the answer took %v", what, took)
	}
	var e *task.Error
	if !errors.As(err, &e) || e.Kind != task.Unavailable || !strings.HasPrefix(e.Msg, "the store") || len(e.Msg) > 80 {
		t.Fatalf("%s: %v, want %s", what, err, task.Unavailable)
	}
	return e
}

// recovers calls until a call succeeds, and logs how long that took.
func recovers(t testing.TB, call func(context.Context) error) {
	t.Helper()
	start := time.Now()
	wait.Succeeds(t, "a recovery", func() error { return call(t.Context()) })
	t.Logf("recovered after %v", time.Since(start))
}

func create1(s task.Store, r *task.Record) func(context.Context) error {
	return func(ctx context.Context) error { _, err := s.Create(ctx, r); return err }
}

func get(s task.Store, id string) func(context.Context) error {
	return func(ctx context.Context) error { _, err := s.Get(ctx, id); return err }
}

func behindProxy(t *testing.T) (*faultproxy.Proxy, *cosmosstore.Store) {
	t.Helper()
	t.Parallel()
	e := emulators.Cosmos(t)
	create(t, e.URL())
	p := faultproxy.New(t, e.URL())
	s := open(t, p.URL())
	check(t, s.Prewarm(t.Context()))
	return p, s
}

var writes = faultproxy.Route("POST", "/docs")

func TestShortThrottlingIsRetriedAndLongThrottlingIsPassedOn(t *testing.T) {
	p, s := behindProxy(t)
	p.Next(writes, faultproxy.CosmosThrottled(20*time.Millisecond))
	check(t, create1(s, record())(t.Context()))

	p.Always(writes, faultproxy.CosmosThrottled(5*time.Second))
	start := time.Now()
	if e := unavailable(t, "throttled", create1(s, record())); e.RetryAfter != 5*time.Second {
		t.Errorf("RetryAfter is %v, want 5s", e.RetryAfter)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("the store waited %v for a service that asks for 5s", took)
	}
}

func TestFaultsAreBoundedAndRecovered(t *testing.T) {
	for name, match := range map[string]faultproxy.Match{
		"Create": writes, "Get": faultproxy.Route("GET", "/docs/"), "Replace": faultproxy.Route("PUT", "/docs/"), "List": writes,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := emulators.Cosmos(t)
			create(t, e.URL())
			p := faults.To(t, e.URL())
			s := open(t, p.URL())
			there := record()
			check(t, create1(s, there)(t.Context()))
			faults.Run(t, faults.Subject{
				TCP: p.TCP, Faults: p.Faults(match, faults.Cosmos, false), Says: "the store", Long: name != "Create",
				Patience: time.Second, // the SDK repeats what broke for as long as it is let
				Call: func(ctx context.Context) error {
					switch name {
					case "Create":
						return create1(s, record())(ctx)
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

func TestCreateRecognizesItsOwnRecordAfterALostAnswer(t *testing.T) {
	p, s := behindProxy(t)
	for name, f := range map[string]faultproxy.Fault{"reset": faultproxy.ResetAfter, "silent": faultproxy.SilentAfter, "truncated": faultproxy.Truncated} {
		for _, keyed := range []bool{true, false} {
			r := record()
			if keyed {
				r.Keyed = &task.Keyed{Fingerprint: "f", DispatchUntil: task.At(time.Now().Add(time.Minute))}
			}
			p.Next(writes, f)
			if existing, err := s.Create(t.Context(), r); err != nil || existing != nil {
				t.Fatalf("%s: %+v, %v", name, existing, err)
			}
			r.Status = task.Running
			if err := s.Replace(t.Context(), r); err != nil {
				t.Errorf("%s: it has not the revision of what is there: %v", name, err)
			}
			if name == "silent" { // which takes 4 s each time
				break
			}
			other := record()
			other.ID, other.EnqueuedAt = r.ID, r.EnqueuedAt.Plus(time.Microsecond)
			p.Next(writes, f)
			if existing, err := s.Create(t.Context(), other); err != nil || existing == nil || existing.Revision != r.Revision {
				t.Errorf("%s: another's: %+v, %v", name, existing, err)
			}
		}
	}
}

func TestReplaceRepeatedAfterALostAnswerIsAConflict(t *testing.T) {
	p, s := behindProxy(t)
	for _, f := range []faultproxy.Fault{faultproxy.ResetAfter, faultproxy.SilentAfter} {
		r := record()
		check(t, create1(s, r)(t.Context()))
		r.Status = task.Running
		p.Next(faultproxy.Route("PUT", "/docs"), f)
		unavailable(t, "Replace", func(ctx context.Context) error { return s.Replace(ctx, r) })
		if err := s.Replace(t.Context(), r); task.KindOf(err) != task.Conflict {
			t.Errorf("repeated: %v, want %s", err, task.Conflict)
		}
	}
}

// TestAccountThatIsDownAtStartIsAskedAgain: a client that cannot read
// the account's description answers everything with that error for five minutes.
func TestAccountThatIsDownAtStartIsAskedAgain(t *testing.T) {
	t.Parallel()
	e := emulators.Cosmos(t)
	create(t, e.URL())
	p := faultproxy.New(t, e.URL())
	for name, f := range map[string]faultproxy.Fault{
		"refused": faultproxy.Status(503, "{}"), "unauthorized": faultproxy.AzureUnauthorized, "reset": faultproxy.ResetBefore, "silent": faultproxy.SilentBefore,
	} {
		p.Always(faultproxy.Any, f)
		s := open(t, p.URL())
		unavailable(t, name, get(s, task.NewID()))
		p.Restore()
		recovers(t, create1(s, record()))
	}
}

// regions is an account of two regions over one emulator. Its description names
// the first as the one that writes, until it moves.
type regions struct {
	url           string
	first, second *faultproxy.TCP
	moved         atomic.Bool
}

func newRegions(t *testing.T, emulator *emulators.Endpoint) *regions {
	t.Helper()
	r := &regions{first: faultproxy.NewTCP(t, emulator.Addr()), second: faultproxy.NewTCP(t, emulator.Addr())}
	account := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		region := func(name string, p *faultproxy.TCP) string {
			return fmt.Sprintf(`{"name":%q,"databaseAccountEndpoint":"http://%s/"}`, name, p.Addr())
		}
		first, second := region("East US", r.first), region("West US", r.second)
		if r.moved.Load() {
			first, second = second, first
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"account","writableLocations":[%s],"readableLocations":[%s,%s],"enableMultipleWriteLocations":false}`, first, first, second)
	}))
	t.Cleanup(account.Close)
	r.url = account.URL
	return r
}

// TestASilentWriteRegionIsLeftWithinSeconds: the account's description names the
// region that writes now, and the SDK would read it again after five minutes.
func TestASilentWriteRegionIsLeftWithinSeconds(t *testing.T) {
	t.Parallel()
	e := emulators.Cosmos(t)
	create(t, e.URL())
	account := newRegions(t, e)
	s := open(t, account.url)
	check(t, create1(s, record())(t.Context()))
	if account.first.Accepted() == 0 || account.second.Accepted() > 0 {
		t.Fatal("the write went to the wrong region")
	}

	account.first.Deafen()
	account.first.Silence()
	account.moved.Store(true)
	start, failed := time.Now(), 0
	for create1(s, record())(t.Context()) != nil {
		if failed++; time.Since(start) > 20*time.Second {
			t.Fatalf("no recovery after %v and %d refused creates", time.Since(start), failed)
		}
	}
	t.Logf("recovered after %v and %d refused creates", time.Since(start).Round(time.Millisecond), failed)
	if failed > 1 {
		t.Errorf("%d creates were refused, want at most 1", failed)
	}
}

// TestAnsweredReadsDoNotHideSilentWrites: the two may go to different
// regions.
func TestAnsweredReadsDoNotHideSilentWrites(t *testing.T) {
	p, s := behindProxy(t)
	r := record()
	check(t, create1(s, r)(t.Context()))
	descriptions := faultproxy.Match(func(r *faultproxy.Request) bool { return r.Method == "GET" && r.Path == "/" })
	before := p.Count(descriptions)
	p.Always(writes, faultproxy.SilentBefore)
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 1100*time.Millisecond)
		unavailable(t, "silent", func(context.Context) error { return create1(s, record())(ctx) })
		cancel()
		check(t, get(s, r.ID)(t.Context()))
	}
	if n := p.Count(descriptions); n != before+1 {
		t.Errorf("the account was described %d times more, want once", n-before)
	}
}

// TestMissingContainerIsNotAMissingTask: nor is one of a replica
// that has not caught up. Both come as 404 with a sub-status.
func TestMissingContainerIsNotAMissingTask(t *testing.T) {
	p, s := behindProxy(t)
	r := record()
	check(t, create1(s, r)(t.Context()))
	for _, subStatus := range []string{"1003", "1002", "1008"} {
		p.Always(faultproxy.Route("", "/docs"), faultproxy.Status(404, `{"code":"NotFound"}`, "X-Ms-Substatus", subStatus))
		unavailable(t, subStatus+" Get", get(s, r.ID))
		unavailable(t, subStatus+" Create", create1(s, record()))
		unavailable(t, subStatus+" Replace", func(ctx context.Context) error { return s.Replace(ctx, r) })
		unavailable(t, subStatus+" List", func(ctx context.Context) error {
			_, err := s.List(ctx, task.Query{Limit: 1})
			return err
		})
		p.Restore()
	}
	p.Always(faultproxy.Route("", "/docs"), faultproxy.Status(404, `{"code":"NotFound"}`, "X-Ms-Substatus", "0"))
	if err := get(s, r.ID)(t.Context()); task.KindOf(err) != task.NotStored {
		t.Errorf("0: %v, want %s", err, task.NotStored)
	}
	if err := s.Replace(t.Context(), r); task.KindOf(err) != task.Conflict {
		t.Errorf("0: %v, want %s", err, task.Conflict)
	}
}

func TestADeadEndpointIsBoundedAndRecoversWithinASecond(t *testing.T) {
	t.Parallel()
	e := emulators.Cosmos(t)
	create(t, e.URL())
	s := open(t, e.URL())
	r := record()
	check(t, create1(s, r)(t.Context()))
	e.Kill()
	start := time.Now()
	unavailable(t, "Get", get(s, r.ID))
	t.Logf("a dead endpoint is answered after %v", time.Since(start))
	unavailable(t, "Create", create1(s, record()))
	e.Restart()
	create(t, e.URL()) // the emulator has forgotten it
	recovers(t, create1(s, record()))
}

// TestStaleConnectionsCostNoRequest: a burst leaves many idle connections, and
// all of them die unseen. Each write that follows succeeds.
func TestStaleConnectionsCostNoRequest(t *testing.T) {
	t.Parallel()
	e := emulators.Cosmos(t)
	create(t, e.URL())
	p := faultproxy.NewTCP(t, e.Addr())
	s := open(t, "http://"+p.Addr())
	var burst sync.WaitGroup
	for range 60 {
		burst.Go(func() {
			if _, err := s.Create(t.Context(), record()); err != nil {
				t.Error(err)
			}
		})
	}
	burst.Wait()
	stale := p.Open()
	p.Stale()
	refused := 0
	for range 40 {
		if _, err := s.Create(t.Context(), record()); err != nil {
			refused++
		}
	}
	t.Logf("%d stale connections, %d of 40 creates refused", stale, refused)
	if stale < 10 || refused > 0 {
		t.Errorf("%d stale connections, %d of 40 creates refused, want at least 10 and none", stale, refused)
	}
}

func TestADroppedIdleConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	e := emulators.Cosmos(t)
	create(t, e.URL())
	p := faultproxy.NewTCP(t, e.Addr())
	s := open(t, "http://"+p.Addr())
	r := record()
	check(t, create1(s, r)(t.Context()))
	p.Drop()
	recovers(t, get(s, r.ID))
	p.Reset()
	recovers(t, create1(s, record()))
	p.Silence()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	unavailable(t, "silent", func(context.Context) error { return get(s, r.ID)(ctx) })
	recovers(t, get(s, r.ID))
}

func TestOneOf30ConcurrentReplacesWins(t *testing.T) {
	t.Parallel()
	e := emulators.Cosmos(t)
	create(t, e.URL())
	s := open(t, e.URL())
	r := record()
	check(t, create1(s, r)(t.Context()))
	var won, lost atomic.Int32
	var all sync.WaitGroup
	for range 30 {
		mine := *r
		all.Go(func() {
			switch err := s.Replace(t.Context(), &mine); task.KindOf(err) {
			case "":
				won.Add(1)
			case task.Conflict:
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || lost.Load() != 29 {
		t.Errorf("%d won and %d lost, want 1 and 29", won.Load(), lost.Load())
	}
}

func TestAWrongContainerIsAnErrorAtStart(t *testing.T) {
	t.Parallel()
	e := emulators.Cosmos(t)
	s := open(t, e.URL())
	if err := s.Prewarm(t.Context()); err == nil || !strings.Contains(err.Error(), "no such database") {
		t.Errorf("no container: %v", err)
	}
	azureemu.CosmosContainer(t, e.URL(), "/id")
	if err := s.Prewarm(t.Context()); err == nil || !strings.Contains(err.Error(), "/pk") {
		t.Errorf("another partition key: %v", err)
	}
	_, err := cosmosstore.New(func() (*azcosmos.ContainerClient, error) { return nil, errors.New("no key") })
	if err == nil || !strings.Contains(err.Error(), "no key") {
		t.Errorf("New: %v", err)
	}
}

func TestTokenCredentialIsUsed(t *testing.T) {
	t.Parallel()
	e := emulators.Cosmos(t)
	create(t, e.URL())
	p := faultproxy.New(t, e.URL())
	options := cosmosstore.ClientOptions()
	options.Transport = plain{p.Addr()}
	s, err := cosmosstore.New(func() (*azcosmos.ContainerClient, error) {
		client, err := azcosmos.NewClient("https://"+p.Addr()+"/", azureemu.Credential{}, options)
		if err != nil {
			return nil, err
		}
		return client.NewContainer(database, container)
	})
	check(t, err)
	check(t, create1(s, record())(t.Context()))
	for _, r := range p.Requests(writes) {
		if auth := r.Header.Get("Authorization"); !strings.Contains(auth, "aad") {
			t.Errorf("Authorization is %q, want a token", auth)
		}
	}
}

// plain speaks HTTP where the SDK insists on HTTPS for its tokens.
type plain struct{ addr string }

func (p plain) Do(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", p.addr
	return http.DefaultClient.Do(r)
}
