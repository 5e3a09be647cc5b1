package servicebusdispatch_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/taskgate/taskgate/adapters/azure/servicebusdispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/faults"
	"github.com/taskgate/taskgate/tests/wait"
)

// bounded is how long a call may take that the peer never answers: the
// dispatcher's own bound, and what a busy machine adds.
const bounded = 6 * time.Second

// warm returns a dispatcher behind a proxy, with its link open, and a worker
// that sees the emulator itself.
func warm(t *testing.T, o emulators.BusQueue) (*faultproxy.TCP, *servicebusdispatch.Dispatcher, *worker) {
	t.Helper()
	e := emulators.ServiceBus(t, oneQueue(o))
	p := faultproxy.NewTCP(t, e.Addr())
	d := open(t, p.Addr(), servicebusdispatch.Options{})
	if err := d.Prewarm(t.Context(), queue); err != nil {
		t.Fatal(err)
	}
	return p, d, newWorker(t, e.Addr()).ofQueue(t, queue)
}

func TestDroppedIdleConnectionIsReplacedWithinTheRequest(t *testing.T) {
	t.Parallel()
	p, d, w := warm(t, emulators.BusQueue{})
	var sent []string
	for name, drop := range map[string]func(){"closed": p.Drop, "reset": p.Reset} {
		for _, due := range []time.Time{{}, time.Now().Add(500 * time.Millisecond)} {
			drop()
			m := outgoing(due)
			start := time.Now()
			if _, err := d.Dispatch(t.Context(), m); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			took := time.Since(start)
			t.Logf("%s: accepted after %v", name, took)
			if took > wait.Slack {
				t.Errorf("%s: accepted after %v", name, took)
			}
			sent = append(sent, m.ID)
		}
	}
	sameIDs(t, w.ids(t, len(sent)), sent)
}

func TestSilentConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	p, d, w := warm(t, emulators.BusQueue{})
	p.Silence()
	unavailable(t, d, outgoing(time.Time{}), bounded)
	m := outgoing(time.Time{})
	recovers(t, d, m)

	p.Silence()
	ctx, cancel := context.WithTimeout(t.Context(), 1100*time.Millisecond)
	defer cancel()
	results := d.DispatchBatch(ctx, []task.Outgoing{outgoing(time.Time{}), outgoing(time.Now().Add(time.Hour))})
	for _, r := range results {
		if task.KindOf(r.Err) != task.Unavailable {
			t.Errorf("a batch to a silent peer: %v", r.Err)
		}
	}
	next := outgoing(time.Time{})
	recovers(t, d, next)
	sameIDs(t, w.ids(t, 2), []string{m.ID, next.ID})
}

func TestUnreachableServiceIsBoundedAndRecovers(t *testing.T) {
	t.Parallel()
	p, d, _ := warm(t, emulators.BusQueue{})
	p.Refuse()
	p.Reset()
	unavailable(t, d, outgoing(time.Time{}), bounded)
	p.Restore(t)
	recovers(t, d, outgoing(time.Time{}))

	p.Deafen()
	p.Reset()
	unavailable(t, d, outgoing(time.Time{}), bounded)
	p.Restore(t)
	recovers(t, d, outgoing(time.Time{}))
}

func TestRestartedServiceIsUsedAgain(t *testing.T) {
	t.Parallel()
	e := emulators.ServiceBus(t, oneQueue(emulators.BusQueue{}))
	d := open(t, e.Addr(), servicebusdispatch.Options{})
	recovers(t, d, outgoing(time.Time{}))
	e.Kill()
	unavailable(t, d, outgoing(time.Time{}), bounded)
	e.Restart()
	recovers(t, d, outgoing(time.Time{}))
	recovers(t, d, outgoing(time.Now().Add(time.Hour)))
}

func TestRefusalsAreUnavailableAndSayWhy(t *testing.T) {
	for condition, says := range map[string]string{
		"amqp:resource-limit-exceeded": "full", "com.microsoft:server-busy": "busy", "com.microsoft:entity-disabled": "disabled",
	} {
		t.Run(condition, func(t *testing.T) {
			t.Parallel()
			_, d, _ := warm(t, emulators.BusQueue{Refuse: condition})
			if e := unavailable(t, d, outgoing(time.Time{}), 3*time.Second); !strings.Contains(e.Msg, says) {
				t.Errorf("the answer is %q", e.Msg)
			}
			if results := d.DispatchBatch(t.Context(), []task.Outgoing{outgoing(time.Time{})}); task.KindOf(results[0].Err) != task.Unavailable {
				t.Errorf("in a batch: %v", results[0].Err)
			}
			unavailable(t, d, outgoing(time.Now().Add(time.Hour)), 3*time.Second)
		})
	}
	t.Run("a session is missing", func(t *testing.T) {
		t.Parallel()
		_, d, _ := warm(t, emulators.BusQueue{RequiresSession: true})
		if e := unavailable(t, d, outgoing(time.Time{}), 3*time.Second); !strings.Contains(e.Msg, "sessions") {
			t.Errorf("the answer is %q", e.Msg)
		}
	})
	t.Run("the entity takes less than the dispatcher thinks", func(t *testing.T) {
		t.Parallel()
		_, d, w := warm(t, emulators.BusQueue{MaxMessageSize: 10_000})
		large, small := outgoing(time.Time{}), outgoing(time.Time{})
		large.Body = []byte(`"` + strings.Repeat("x", 20_000) + `"`)
		if _, err := d.Dispatch(t.Context(), large); task.KindOf(err) != task.MessageTooLarge {
			t.Errorf("alone: %v", err)
		}
		results := d.DispatchBatch(t.Context(), []task.Outgoing{small, large})
		if results[0].Err != nil || task.KindOf(results[1].Err) != task.MessageTooLarge {
			t.Errorf("in a batch: %v, %v", results[0].Err, results[1].Err)
		}
		sameIDs(t, w.ids(t, 1), []string{small.ID})
	})
}

func TestAWrongKeyIsNamedAtStart(t *testing.T) {
	t.Parallel()
	config := oneQueue(emulators.BusQueue{})
	config.Keys = map[string]string{"RootManageSharedAccessKey": "another"}
	e := emulators.ServiceBus(t, config)
	d := open(t, e.Addr(), servicebusdispatch.Options{})
	err := d.Prewarm(t.Context(), queue)
	if task.KindOf(err) != task.Unavailable || !strings.Contains(err.Error(), "not let") {
		t.Errorf("Prewarm: %v", err)
	}
	err = open(t, emulators.ServiceBus(t, oneQueue(emulators.BusQueue{})).Addr(), servicebusdispatch.Options{}).Prewarm(t.Context(), queue, "no-such-queue")
	if task.KindOf(err) != task.Unavailable || !strings.Contains(err.Error(), "no-such-queue") {
		t.Errorf("Prewarm: %v", err)
	}
}

// refusing is a token credential that is refused when told to.
type refusing struct {
	azureemu.Credential
	now *atomic.Bool
}

// authenticationFailed is how azidentity says that trying again is no use.
type authenticationFailed struct{ error }

func (authenticationFailed) NonRetriable() {}

func (r refusing) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if r.now.Load() {
		return azcore.AccessToken{}, authenticationFailed{errors.New("401 Unauthorized")}
	}
	return r.Credential.GetToken(ctx, o)
}

func TestACredentialRefusedOnRenewalIsUnavailableAndRecovers(t *testing.T) {
	t.Parallel()
	e := emulators.ServiceBus(t, oneQueue(emulators.BusQueue{}))
	p := faultproxy.NewTCP(t, e.Addr())
	var refuse atomic.Bool
	options := azureemu.ServiceBusOptions(p.Addr())
	options.RetryOptions = servicebusdispatch.ClientOptions().RetryOptions
	d := openWith(t, func() (*azservicebus.Client, error) {
		return azservicebus.NewClient("ns.servicebus.windows.net", refusing{now: &refuse}, options)
	}, servicebusdispatch.Options{})
	recovers(t, d, outgoing(time.Time{}))
	refuse.Store(true)
	p.Drop() // the next connection asks for a token
	unavailable(t, d, outgoing(time.Time{}), bounded)
	unavailable(t, d, outgoing(time.Time{}), bounded)
	refuse.Store(false)
	recovers(t, d, outgoing(time.Time{}))
}

// stuck never gets a token, and has no regard for the request's end, as a probe
// of an identity that is not there.
type stuck struct {
	azureemu.Credential
	forever chan struct{}
}

func (s stuck) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	<-s.forever
	return azcore.AccessToken{}, authenticationFailed{errors.New("gone")}
}

func TestACredentialThatHangsIsBounded(t *testing.T) {
	t.Parallel()
	e := emulators.ServiceBus(t, oneQueue(emulators.BusQueue{}))
	forever := make(chan struct{})
	t.Cleanup(func() { close(forever) })
	d := openWith(t, func() (*azservicebus.Client, error) {
		return azservicebus.NewClient("ns.servicebus.windows.net", stuck{forever: forever}, azureemu.ServiceBusOptions(e.Addr()))
	}, servicebusdispatch.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := d.Dispatch(ctx, outgoing(time.Time{}))
	if took := time.Since(start); task.KindOf(err) != task.Unavailable || took > wait.Slack {
		t.Errorf("%v after %v", err, took)
	}
}

// TestABrokenLinkIsReplaced: a queue that is deleted ends the links to it, and
// the SDK keeps such a link when the queue is there again.
func TestABrokenLinkIsReplaced(t *testing.T) {
	t.Parallel()
	with := emulators.ServiceBus(t, oneQueue(emulators.BusQueue{}))
	without := emulators.ServiceBus(t, emulators.ServiceBusConfig{})
	var to atomic.Pointer[string]
	swap := func(addr string) { to.Store(&addr) }
	swap(with.Addr())
	var current atomic.Pointer[net.Conn]
	options := servicebusdispatch.ClientOptions()
	options.NewWebSocketConn = func(ctx context.Context, _ azservicebus.NewWebSocketConnArgs) (net.Conn, error) {
		var dialer net.Dialer
		c, err := dialer.DialContext(ctx, "tcp", *to.Load())
		current.Store(&c)
		return c, err
	}
	d := openWith(t, func() (*azservicebus.Client, error) {
		return azservicebus.NewClient("ns.servicebus.windows.net", azureemu.Credential{}, options)
	}, servicebusdispatch.Options{})
	recovers(t, d, outgoing(time.Time{}))
	swap(without.Addr())
	(*current.Load()).Close()
	if e := unavailable(t, d, outgoing(time.Time{}), bounded); !strings.Contains(e.Msg, queue) {
		t.Errorf("the answer is %q", e.Msg)
	}
	swap(with.Addr())
	(*current.Load()).Close()
	recovers(t, d, outgoing(time.Time{}))
}

func TestDuplicateDetectionDropsTheRepeatOfALostAnswer(t *testing.T) {
	for detects, want := range map[bool]int{true: 1, false: 2} { // the SDK sends again
		t.Run(fmt.Sprint(detects), func(t *testing.T) {
			t.Parallel()
			_, d, w := warm(t, emulators.BusQueue{RequiresDuplicateDetection: detects, LoseAnswers: 1})
			m := outgoing(time.Time{})
			if _, err := d.Dispatch(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			sameIDs(t, w.ids(t, want), slices.Repeat([]string{m.ID}, want))
		})
	}
}

func TestScheduledMessageComesOnTimeAndACancelledOneNever(t *testing.T) {
	t.Parallel()
	_, d, w := warm(t, emulators.BusQueue{})
	kept, cancelled := outgoing(time.Now().Add(2*time.Second)), outgoing(time.Now().Add(2*time.Second))
	if _, err := d.Dispatch(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	r, err := d.Dispatch(t.Context(), cancelled)
	if err != nil || r.CancelRef == "" {
		t.Fatal(r, err)
	}
	if err := d.Cancel(t.Context(), task.Sent{ID: cancelled.ID, Queue: queue, CancelRef: r.CancelRef}); err != nil {
		t.Fatal(err)
	}
	sameIDs(t, w.ids(t, 1), []string{kept.ID})
	if late := time.Since(kept.Due.Time); late < 0 || late > wait.Slack {
		t.Errorf("it came %v after it was due", late)
	}
}

// TestFaultsAreBoundedAndRecovered: what the service refuses, it refuses by the
// condition of its entity, and a token when a connection is made.
func TestFaultsAreBoundedAndRecovered(t *testing.T) {
	entities := map[string]emulators.BusQueue{queue: {}, "busy": {Refuse: "com.microsoft:server-busy"}, "broken": {Refuse: "amqp:internal-error"}}
	topics := map[string]emulators.BusTopic{}
	for name, q := range entities {
		topics[name] = emulators.BusTopic{BusQueue: q, Subscriptions: map[string]emulators.BusQueue{"workers": {}}}
	}
	type call func(context.Context, *servicebusdispatch.Dispatcher, string) error
	alone := func(later time.Duration) call {
		return func(ctx context.Context, d *servicebusdispatch.Dispatcher, to string) error {
			var due time.Time
			if later > 0 {
				due = time.Now().Add(later)
			}
			m := outgoing(due)
			m.Queue = to
			_, err := d.Dispatch(ctx, m)
			return err
		}
	}
	batch := func(ctx context.Context, d *servicebusdispatch.Dispatcher, to string) error {
		ms := []task.Outgoing{outgoing(time.Time{}), outgoing(time.Time{})}
		ms[0].Queue, ms[1].Queue = to, to
		return d.DispatchBatch(ctx, ms)[1].Err
	}
	for name, c := range map[string]struct {
		config emulators.ServiceBusConfig
		call   call
	}{
		"queue":       {emulators.ServiceBusConfig{Queues: entities}, alone(0)},
		"queue later": {emulators.ServiceBusConfig{Queues: entities}, alone(time.Hour)},
		"queue batch": {emulators.ServiceBusConfig{Queues: entities}, batch},
		"topic":       {emulators.ServiceBusConfig{Topics: topics}, alone(0)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := faultproxy.NewTCP(t, emulators.ServiceBus(t, c.config).Addr())
			var refuse atomic.Bool
			options := azureemu.ServiceBusOptions(p.Addr())
			options.RetryOptions = servicebusdispatch.ClientOptions().RetryOptions
			connect, closeAll := recording(func() (*azservicebus.Client, error) {
				return azservicebus.NewClient("ns.servicebus.windows.net", refusing{now: &refuse}, options)
			})
			d := openWith(t, connect, servicebusdispatch.Options{Topic: c.config.Topics != nil})
			to := queue
			entity := func(name string) func() { return func() { to = name } }
			back := func(testing.TB) { to = queue }
			faults.Run(t, faults.Subject{
				TCP: p, Long: name != "queue",
				Faults: append(faults.Connection(p),
					faults.Fault{Name: "throttled", Wait: true, Begin: entity("busy"), End: back},
					faults.Fault{Name: "server error", Begin: entity("broken"), End: back},
					faults.Fault{Name: "expired", Begin: func() { refuse.Store(true); p.Drop() }, End: func(testing.TB) { refuse.Store(false) }},
				),
				Silence: 1100 * time.Millisecond, // what it takes to be sure that a link is dead
				Call:    func(ctx context.Context) error { return c.call(ctx, d, to) },
				Close:   closeAll,
			})
		})
	}
}

func sameIDs(t testing.TB, got, want []string) {
	t.Helper()
	if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Errorf("messages %v have arrived, want %v", got, want)
	}
}
