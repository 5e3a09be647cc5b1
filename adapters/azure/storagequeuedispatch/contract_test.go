package storagequeuedispatch_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"github.com/taskgate/taskgate/adapters/azure/storagequeuedispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/dispatchtest"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/faults"
	"github.com/taskgate/taskgate/tests/wait"
)

const queue = "tasks"

func TestTheDispatcherKeepsItsContract(t *testing.T) {
	t.Parallel()
	e := emulators.StorageQueue(t)
	d, q := open(t, e.Addr()), worker(t, e.Addr())
	dispatchtest.Run(t, func(t *testing.T) dispatchtest.Subject {
		return dispatchtest.Subject{
			Dispatcher: d, Queue: queue, MissingQueue: "no-such-queue", NoAttributes: true,
			Receive: func(ctx context.Context) (dispatchtest.Delivery, error) {
				body, err := receive(ctx, q)
				return dispatchtest.Delivery{Body: body}, err
			},
		}
	})
}

// open returns a dispatcher to the emulator, or a proxy before it, at addr.
func open(t testing.TB, addr string) *storagequeuedispatch.Dispatcher {
	t.Helper()
	c, err := azqueue.NewServiceClientFromConnectionString(azureemu.StorageConnectionString(addr), storagequeuedispatch.ClientOptions())
	check(t, err)
	return storagequeuedispatch.New(c, 0)
}

// worker makes the queue, and returns the client that takes messages out.
func worker(t testing.TB, addr string) *azqueue.QueueClient {
	t.Helper()
	q, err := azqueue.NewQueueClientFromConnectionString(azureemu.StorageConnectionString(addr), queue, nil)
	check(t, err)
	_, err = q.Create(context.Background(), nil)
	check(t, err)
	return q
}

func receive(ctx context.Context, q *azqueue.QueueClient) ([]byte, error) {
	for {
		got, err := q.DequeueMessage(ctx, nil)
		if err != nil {
			return nil, err
		}
		for _, m := range got.Messages {
			if _, err := q.DeleteMessage(ctx, *m.MessageID, *m.PopReceipt, nil); err != nil {
				return nil, err
			}
			return base64.StdEncoding.DecodeString(*m.MessageText)
		}
		select {
		case <-time.After(10 * time.Millisecond): // there is no waiting for a message
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func outgoing(due time.Duration) task.Outgoing {
	id := task.NewID()
	m := task.Outgoing{ID: id, Queue: queue, Body: fmt.Appendf(nil, `{"task_name":"send","args":[],"kwargs":{},"id":%q}`, id)}
	if due != 0 {
		m.Due = task.At(time.Now().Add(due))
	}
	return m
}

// unavailable dispatches, and wants a bounded answer of that kind.
func unavailable(t testing.TB, d *storagequeuedispatch.Dispatcher, limit time.Duration) *task.Error {
	t.Helper()
	start := time.Now()
	_, err := d.Dispatch(t.Context(), outgoing(0))
	if took := time.Since(start); took > limit+wait.Slack {
		t.Errorf("the answer took %v", took)
	}
	var e *task.Error
	if !errors.As(err, &e) || e.Kind != task.Unavailable || e.Msg == "" || strings.Contains(e.Msg, "http") {
		t.Fatalf("Dispatch: %v, want %s", err, task.Unavailable)
	}
	return e
}

// recovers calls until a call succeeds, and logs how long that took.
func recovers(t testing.TB, d *storagequeuedispatch.Dispatcher) {
	t.Helper()
	start := time.Now()
	wait.Succeeds(t, "a recovery", func() error { _, err := d.Dispatch(t.Context(), outgoing(0)); return err })
	t.Logf("recovered after %v", time.Since(start))
}

var puts = faultproxy.Route("POST", "/messages")

func TestFaultsAreBoundedAndRecovered(t *testing.T) {
	for name, match := range map[string]faultproxy.Match{"put": puts, "delete": faultproxy.Route("DELETE", "/messages")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := emulators.StorageQueue(t)
			worker(t, e.Addr())
			p := faults.To(t, e.URL())
			d := open(t, p.Addr())
			var bound time.Duration // one and the same for all
			if name == "put" {
				bound = 9 * time.Second // two tries of 4 s
			}
			faults.Run(t, faults.Subject{
				TCP: p.TCP, Faults: p.Faults(match, faults.Storage, name == "delete"), Bound: bound, Long: name != "put",
				Call: func(ctx context.Context) error {
					later := outgoing(time.Hour)
					r, err := d.Dispatch(ctx, later)
					if err == nil && name == "delete" {
						err = d.Cancel(ctx, task.Sent{ID: later.ID, Queue: queue, CancelRef: r.CancelRef})
					}
					return err
				},
			})
		})
	}
}

func TestOneRefusalIsRetried(t *testing.T) {
	t.Parallel()
	e := emulators.StorageQueue(t)
	worker(t, e.Addr())
	p := faultproxy.New(t, e.URL())
	p.Next(puts, faultproxy.StorageThrottled)
	_, err := open(t, p.Addr()).Dispatch(t.Context(), outgoing(0))
	check(t, err)
}

func TestRestartedServiceIsUsedAgain(t *testing.T) {
	t.Parallel()
	e := emulators.StorageQueue(t)
	worker(t, e.Addr())
	d := open(t, e.Addr())
	recovers(t, d)
	e.Kill()
	unavailable(t, d, 3*time.Second)
	e.Restart()
	if e := unavailable(t, d, 3*time.Second); !strings.Contains(e.Msg, queue) {
		t.Errorf("the queue was forgotten, and the answer is %q", e.Msg)
	}
	worker(t, e.Addr())
	recovers(t, d)
}

func TestADroppedIdleConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	e := emulators.StorageQueue(t)
	worker(t, e.Addr())
	p := faultproxy.NewTCP(t, e.Addr())
	d := open(t, p.Addr())
	recovers(t, d)
	p.Drop()
	recovers(t, d)
	p.Reset()
	recovers(t, d)
}

// TestStaleConnectionsCostNoMessage: a burst leaves many idle connections, and
// all of them die unseen. Each message that follows is accepted.
func TestStaleConnectionsCostNoMessage(t *testing.T) {
	t.Parallel()
	e := emulators.StorageQueue(t)
	worker(t, e.Addr())
	p := faultproxy.NewTCP(t, e.Addr())
	d := open(t, p.Addr())
	var burst sync.WaitGroup
	for range 60 {
		burst.Go(func() {
			if _, err := d.Dispatch(t.Context(), outgoing(0)); err != nil {
				t.Error(err)
			}
		})
	}
	burst.Wait()
	stale := p.Open()
	p.Stale()
	refused := 0
	for range 40 {
		if _, err := d.Dispatch(t.Context(), outgoing(0)); err != nil {
			refused++
		}
	}
	t.Logf("%d stale connections, %d of 40 messages refused", stale, refused)
	if stale < 10 || refused > 0 {
		t.Errorf("%d stale connections, %d of 40 messages refused, want at least 10 and none", stale, refused)
	}
}

func TestDelayedMessageComesOnTimeAndACancelledOneNever(t *testing.T) {
	t.Parallel()
	e := emulators.StorageQueue(t)
	q := worker(t, e.Addr())
	d := open(t, e.Addr())
	kept, cancelled := outgoing(2*time.Second), outgoing(2*time.Second)
	_, err := d.Dispatch(t.Context(), kept)
	check(t, err)
	r, err := d.Dispatch(t.Context(), cancelled)
	check(t, err)
	check(t, d.Cancel(t.Context(), task.Sent{ID: cancelled.ID, Queue: queue, CancelRef: r.CancelRef}))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	body, err := receive(ctx, q)
	if late := time.Since(kept.Due.Time); err != nil || string(body) != string(kept.Body) || late < 0 || late > wait.Slack {
		t.Errorf("received %s, %v, %v after it was due", body, err, late)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if body, err := receive(ctx, q); err == nil {
		t.Errorf("received %s", body)
	}
}

// TestOnlyADelayedMessageHasACancelRef: what is due at once is soon a
// worker's, and costs no more than the record and the message.
func TestOnlyADelayedMessageHasACancelRef(t *testing.T) {
	t.Parallel()
	e := emulators.StorageQueue(t)
	worker(t, e.Addr())
	d := open(t, e.Addr())
	now, err := d.Dispatch(t.Context(), outgoing(0))
	check(t, err)
	later, err := d.Dispatch(t.Context(), outgoing(time.Minute))
	check(t, err)
	if now.CancelRef != "" || now.MessageID == "" || later.CancelRef == "" {
		t.Errorf("receipts %+v and %+v", now, later)
	}
	check(t, d.Cancel(t.Context(), task.Sent{Queue: queue, CancelRef: now.CancelRef}))
}

func TestLimitsSayWhatAQueueTakes(t *testing.T) {
	d := storagequeuedispatch.New(nil, 5)
	l := d.Limits(t.Context(), queue, 8*24*time.Hour)
	if *l.MaxDelaySeconds != 7*24*60*60 || !l.SupportsDefer || *l.MaxMessageBytes != 49152 || *l.MaxDeliveries != 5 || l.GroupMode.Supported() || l.FanOut {
		t.Errorf("limits %+v", l)
	}
}

func TestTokenCredentialIsUsed(t *testing.T) {
	t.Parallel()
	e := emulators.StorageQueue(t)
	worker(t, e.Addr())
	p := faultproxy.New(t, e.URL())
	var token string
	p.Always(puts, func(x *faultproxy.Exchange) { // the emulator takes tokens over TLS alone
		token = x.Header.Get("Authorization")
		faultproxy.Status(201, `<?xml version="1.0"?><QueueMessagesList><QueueMessage><MessageId>m-1</MessageId><PopReceipt>p</PopReceipt></QueueMessage></QueueMessagesList>`,
			"Content-Type", "application/xml")(x)
	})
	options := storagequeuedispatch.ClientOptions()
	options.Transport = plain{p.Addr()}
	c, err := azqueue.NewServiceClient("https://"+p.Addr(), azureemu.Credential{}, options)
	check(t, err)
	d := storagequeuedispatch.New(c, 0)
	r, err := d.Dispatch(t.Context(), outgoing(0))
	if err != nil || r.MessageID != "m-1" || !strings.HasPrefix(token, "Bearer ") {
		t.Errorf("%+v, %v, sent with %q", r, err, token)
	}
}

// plain speaks HTTP where the SDK insists on HTTPS for its tokens.
type plain struct{ addr string }

func (p plain) Do(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", p.addr
	return http.DefaultClient.Do(r)
}
