package sqsdispatch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/sqsdispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/faults"
	"github.com/taskgate/taskgate/tests/wait"
)

func outgoing(queue string, delay time.Duration) task.Outgoing {
	id := task.NewID()
	m := task.Outgoing{
		ID: id, Queue: queue, Body: fmt.Appendf(nil, `{"task_name":"send","args":[],"kwargs":{},"id":%q}`, id),
		Attributes: map[string]string{task.AttributeTaskID: id},
	}
	if delay != 0 {
		m.Due = task.At(time.Now().Add(delay))
	}
	return m
}

func dispatch(ctx context.Context, d *sqsdispatch.Queue) error {
	_, err := d.Dispatch(ctx, outgoing("tasks", 0))
	return err
}

// unavailable dispatches, and wants a bounded answer of that kind, which tells
// the client nothing of the SDK's.
func unavailable(t testing.TB, d *sqsdispatch.Queue, ctx context.Context, limit time.Duration) *task.Error {
	t.Helper()
	start := time.Now()
	err := dispatch(ctx, d)
	if took := time.Since(start); took > limit+wait.Slack {
		t.Errorf("the answer took %v", took)
	}
	var e *task.Error
	if !errors.As(err, &e) || e.Kind != task.Unavailable || !strings.Contains(e.Msg, "queue tasks") || len(e.Msg) > 80 {
		t.Fatalf("Dispatch: %v, want %s", err, task.Unavailable)
	}
	return e
}

// recovers calls until a call succeeds.
func recovers(t testing.TB, d *sqsdispatch.Queue) {
	t.Helper()
	wait.Succeeds(t, "a recovery", func() error { return dispatch(t.Context(), d) })
}

var (
	sends   = faultproxy.Operation("SendMessage")
	lookups = faultproxy.Operation("GetQueueUrl")
)

func behindProxy(t *testing.T) (*faultproxy.Proxy, *sqsdispatch.Queue) {
	t.Helper()
	t.Parallel()
	e := emulators.SQS(t)
	createQueue(t, e.URL(), "tasks", nil)
	p := faultproxy.New(t, e.URL())
	return p, sqsdispatch.New(client(p.URL()), sqsdispatch.Options{})
}

func TestFaultsAreBoundedAndRecovered(t *testing.T) {
	for name, match := range map[string]faultproxy.Match{"SendMessage": sends, "GetQueueUrl": lookups, "SendMessageBatch": batches} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := emulators.SQS(t)
			createQueue(t, e.URL(), "tasks", nil)
			p := faults.To(t, e.URL())
			c := client(p.URL())
			d := sqsdispatch.New(c, sqsdispatch.Options{})
			var bound time.Duration // one and the same for all
			if name == "SendMessage" {
				bound = awssdk.AnswerTime
			}
			faults.Run(t, faults.Subject{
				TCP: p.TCP, Faults: p.Faults(match, faults.AWS, false), Says: "the queue tasks", Bound: bound, Long: name != "SendMessage",
				Call: func(ctx context.Context) error {
					switch name {
					case "GetQueueUrl":
						return dispatch(ctx, sqsdispatch.New(c, sqsdispatch.Options{}))
					case "SendMessageBatch":
						return d.DispatchBatch(ctx, []task.Outgoing{outgoing("tasks", 0), outgoing("tasks", 0)})[1].Err
					}
					return dispatch(ctx, d)
				},
			})
		})
	}
}

func TestRequestIsRetriedOnce(t *testing.T) {
	p, d := behindProxy(t)
	recovers(t, d)
	before := p.Count(sends)
	p.Next(sends, faultproxy.AWSThrottled)
	if err := dispatch(t.Context(), d); err != nil || p.Count(sends) != before+2 {
		t.Errorf("one refusal is not waited out: %v after %d sends", err, p.Count(sends)-before)
	}
	p.Always(sends, faultproxy.AWSUnavailable)
	before = p.Count(sends)
	unavailable(t, d, t.Context(), 3*time.Second)
	if n := p.Count(sends) - before; n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
}

// TestOneSilentConnectionIsReplaced: as one that died while its function was
// frozen.
func TestOneSilentConnectionIsReplaced(t *testing.T) {
	p, d := behindProxy(t)
	recovers(t, d)
	p.Next(sends, faultproxy.SilentBefore)
	if err := dispatch(t.Context(), d); err != nil {
		t.Error(err)
	}
}

func TestDeniedQueueAttributesAreUnknownLimits(t *testing.T) {
	p, d := behindProxy(t)
	p.Always(faultproxy.Operation("GetQueueAttributes"), faultproxy.AWSDenied)
	recovers(t, d)
	if l := d.Limits(t.Context(), "tasks", 0); l.MaxDeliveries != nil || *l.MaxMessageBytes < 1_000_000 {
		t.Errorf("limits %+v", l)
	}
}

func TestAQueuesOwnLimitsAreRead(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	createQueue(t, e.URL(), "dead", nil)
	createQueue(t, e.URL(), "tasks", map[string]string{
		"MaximumMessageSize": "65536", "RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":"4"}`,
	})
	l := sqsdispatch.New(client(e.URL()), sqsdispatch.Options{}).Limits(t.Context(), "tasks", 0)
	if *l.MaxMessageBytes > 65536 || *l.MaxMessageBytes < 60000 || l.MaxDeliveries == nil || *l.MaxDeliveries != 4 {
		t.Errorf("limits %+v", l)
	}
}

func TestQueueIsLookedUpOnceAndMissingQueueAgain(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	p := faultproxy.New(t, e.URL())
	d := sqsdispatch.New(client(p.URL()), sqsdispatch.Options{})
	if e := unavailable(t, d, t.Context(), time.Second); e.Msg != "there is no queue tasks" {
		t.Errorf("a missing queue: %v", e)
	}
	url := createQueue(t, e.URL(), "tasks", nil)
	recovers(t, d)
	first := sqsdispatch.New(client(p.URL()), sqsdispatch.Options{})
	before := p.Count(lookups)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := dispatch(t.Context(), first); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := p.Count(lookups) - before; n != 1 {
		t.Errorf("20 concurrent first requests look up %d times", n)
	}
	if _, err := client(e.URL()).DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &url}); err != nil {
		t.Fatal(err)
	}
	if e := unavailable(t, d, t.Context(), time.Second); e.Msg != "there is no queue tasks" {
		t.Errorf("a vanished queue: %v", e)
	}
	createQueue(t, e.URL(), "tasks", nil)
	recovers(t, d)
	if r := d.DispatchBatch(t.Context(), []task.Outgoing{outgoing("tasks", 0)}); r[0].Err != nil || r[0].Receipt.MessageID == "" {
		t.Errorf("a batch: %+v", r)
	}
}

func TestAServiceThatIsKilledRecovers(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	createQueue(t, e.URL(), "tasks", nil)
	d := sqsdispatch.New(client(e.URL()), sqsdispatch.Options{})
	recovers(t, d)
	e.Kill()
	unavailable(t, d, t.Context(), 3*time.Second)
	e.Restart() // it has forgotten the queue
	unavailable(t, d, t.Context(), 3*time.Second)
	createQueue(t, e.URL(), "tasks", nil)
	recovers(t, d)
}

func TestRunAfterBySQSAndByTheScheduler(t *testing.T) {
	t.Parallel()
	e := emulators.SQS(t)
	url := createQueue(t, e.URL(), "tasks", nil)
	p := faultproxy.New(t, e.URL())
	double, s := newScheduler(t, e.URL())
	d := sqsdispatch.New(client(p.URL()), sqsdispatch.Options{Scheduler: s, Now: double.Now})
	later := func(delay time.Duration) task.Outgoing {
		m := outgoing("tasks", 0)
		m.Due = task.At(double.Now().Add(delay))
		m.Route = d.Limits(t.Context(), "tasks", delay).Route
		return m
	}
	send := func(m task.Outgoing) {
		t.Helper()
		if _, err := d.Dispatch(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	for delay, want := range map[time.Duration]string{10 * time.Second: `"DelaySeconds":10`, 899 * time.Second: `"DelaySeconds":899`} {
		send(later(delay))
		sent := p.Requests(sends)
		if body := string(sent[len(sent)-1].Body); !strings.Contains(body, want) || len(double.Schedules()) != 0 {
			t.Errorf("%v: sent %s", delay, body)
		}
	}
	kept, cancelled := later(2*time.Hour), later(2*time.Hour)
	send(kept)
	send(kept) // our own name
	send(cancelled)
	if n := len(double.Schedules()); n != 2 || p.Count(sends) != 2 {
		t.Fatalf("%d schedules, %d sends", n, p.Count(sends))
	}
	if err := d.Cancel(t.Context(), task.Sent{ID: cancelled.ID, Queue: "tasks", Route: cancelled.Route}); err != nil {
		t.Fatal(err)
	}
	if err := double.Advance(t.Context(), 2*time.Hour+time.Second); err != nil {
		t.Fatal(err)
	}
	receive := receiver(e.URL(), url)
	got, err := receive(t.Context())
	if err != nil || string(got.Body) != string(kept.Body) || got.Attributes[task.AttributeTaskID] != kept.ID {
		t.Errorf("received %s, %v, %v", got.Body, got.Attributes, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if got, err := receive(ctx); err == nil {
		t.Errorf("received %s too", got.Body)
	}
}
