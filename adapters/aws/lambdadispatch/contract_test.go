package lambdadispatch_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/lambdadispatch"
	"github.com/taskgate/taskgate/adapters/aws/schedule"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/dispatchtest"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/emulators/lambdadouble"
	"github.com/taskgate/taskgate/tests/emulators/schedulerdouble"
	"github.com/taskgate/taskgate/tests/faults"
)

var _ task.Dispatcher = (*lambdadispatch.Function)(nil)

// client returns a client as a main makes it, of the double or of a proxy before
// it.
func client(url string) *lambda.Client {
	cfg := awsemu.Config(url)
	awssdk.Bound(&cfg)
	return lambda.NewFromConfig(cfg)
}

// worker starts a double with the function "worker", and returns what it gets.
func worker(t testing.TB) (url string, events chan []byte) {
	t.Helper()
	l := lambdadouble.New(t)
	events = make(chan []byte, 1000)
	l.Add("worker", func(_ context.Context, payload []byte) error {
		events <- payload
		return nil
	}, 0)
	return l.URL(), events
}

func receiver(events chan []byte) func(context.Context) (dispatchtest.Delivery, error) {
	return func(ctx context.Context) (dispatchtest.Delivery, error) {
		select {
		case event := <-events:
			return dispatchtest.Delivery{Body: event}, nil
		case <-ctx.Done():
			return dispatchtest.Delivery{}, ctx.Err()
		}
	}
}

func TestFunctionKeepsTheContract(t *testing.T) {
	url, events := worker(t)
	d := lambdadispatch.New(client(url), lambdadispatch.Options{})
	dispatchtest.Run(t, func(t *testing.T) dispatchtest.Subject {
		return dispatchtest.Subject{Dispatcher: d, Queue: "worker", MissingQueue: "no-such-function", NoAttributes: true, Receive: receiver(events)}
	})
}

func TestFunctionWithSchedulerKeepsTheContract(t *testing.T) {
	for _, name := range []string{"worker", awsemu.ARN("lambda", "function:worker")} {
		t.Run(name, func(t *testing.T) {
			url, events := worker(t)
			double := schedulerdouble.New(t, time.Now(), schedulerdouble.Targets{Lambda: client(url)})
			cfg := awsemu.Config(double.URL())
			awssdk.Bound(&cfg)
			s := schedule.New(scheduler.NewFromConfig(cfg), schedule.Options{RoleARN: "arn:aws:iam::000000000000:role/scheduler", Now: double.Now})
			d := lambdadispatch.New(client(url), lambdadispatch.Options{Scheduler: s, Now: double.Now})
			dispatchtest.Run(t, func(t *testing.T) dispatchtest.Subject {
				return dispatchtest.Subject{
					Dispatcher: d, Queue: name, MissingQueue: "no-such-function", NoAttributes: true, Receive: receiver(events), Now: double.Now,
					Late: awssdk.AnswerTime + 2*time.Second,
					WaitUntil: func(ctx context.Context, at time.Time) error {
						return double.Advance(ctx, max(0, at.Sub(double.Now())))
					},
				}
			})
			later := task.Outgoing{ID: task.NewID(), Queue: "no-such-function", Body: []byte("{}"), Route: schedule.Route, Due: task.At(double.Now().Add(time.Hour))}
			if _, err := d.Dispatch(t.Context(), later); task.KindOf(err) != task.Unavailable || !strings.Contains(err.Error(), "there is no function no-such-function") {
				t.Errorf("a missing function, later: %v", err)
			}
		})
	}
}

func TestFaultsAreBoundedAndRecover(t *testing.T) {
	url, _ := worker(t)
	p := faults.To(t, url)
	d := lambdadispatch.New(client(p.URL()), lambdadispatch.Options{})
	var all []faults.Fault
	for _, f := range p.Faults(faultproxy.Any, faults.AWS, false) {
		if f.Name == "truncated" { // an answer that has no body has no half: with its status it is whole
			f.Want = faults.Either
		}
		all = append(all, f)
	}
	faults.Run(t, faults.Subject{
		TCP: p.TCP, Faults: all, Says: "the function worker",
		Call: func(ctx context.Context) error {
			_, err := d.Dispatch(ctx, task.Outgoing{ID: task.NewID(), Queue: "worker", Body: []byte("{}")})
			return err
		},
	})
}
