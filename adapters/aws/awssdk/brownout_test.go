package awssdk_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/dynamostore"
	"github.com/taskgate/taskgate/adapters/aws/lambdadispatch"
	"github.com/taskgate/taskgate/adapters/aws/schedule"
	"github.com/taskgate/taskgate/adapters/aws/snsdispatch"
	"github.com/taskgate/taskgate/adapters/aws/sqsdispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/emulators/lambdadouble"
	"github.com/taskgate/taskgate/tests/emulators/schedulerdouble"
	"github.com/taskgate/taskgate/tests/wait"
)

// TestBrownOutCostsAtMostTwoCallsPerTask, to what is down and to what is well: the
// SDK tries once more, and nothing else does.
func TestBrownOutCostsAtMostTwoCallsPerTask(t *testing.T) {
	items, messages, function := emulators.DynamoDB(t), emulators.SQS(t), lambdadouble.New(t)
	awsemu.CreateTable(t, dynamodb.NewFromConfig(awsemu.Config(items.URL())), dynamostore.Definition("tasks"))
	_, err := sqs.NewFromConfig(awsemu.Config(messages.URL())).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("tasks")})
	if err == nil {
		_, err = sns.NewFromConfig(awsemu.Config(messages.URL())).CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("tasks")})
	}
	if err != nil {
		t.Fatal(err)
	}
	function.Add("tasks", func(context.Context, []byte) error { return nil }, 0)
	schedules := schedulerdouble.New(t, time.Now(), schedulerdouble.Targets{})
	endpoints := map[string]string{"sqs": messages.URL(), "sns": messages.URL(), "scheduler": schedules.URL(), "lambda": function.URL()}

	var all sync.WaitGroup
	turns := make(chan struct{}, 16) // more at once, and on a busy machine what is well does not answer in time
	for name, fault := range map[string]faultproxy.Fault{
		"unavailable": faultproxy.AWSUnavailable, "throttled": faultproxy.AWSThrottled, "reset": faultproxy.ResetBefore, "silent": faultproxy.SilentBefore,
	} {
		if testing.Short() && name == "silent" {
			continue // which takes as long as the SDK waits, twice
		}
		for down, target := range map[string]string{"store": "sqs", "sqs": "sqs", "sns": "sns", "scheduler": "scheduler", "lambda": "lambda"} {
			for _, keyed := range []bool{true, false} {
				for _, size := range []int{1, 5} {
					store, queue := faultproxy.New(t, items.URL()), faultproxy.New(t, endpoints[target])
					service := brownOut(store.URL(), queue.URL(), target, messages.URL())
					all.Go(func() {
						turns <- struct{}{}
						defer func() { <-turns }()
						what := fmt.Sprintf("%s is %s, keyed %v, batch of %d", down, name, keyed, size)
						// A busy emulator may be too slow for the first requests of 80 services at once.
						wait.Succeeds(t, what+": before it", func() error {
							return enqueueTasks(t.Context(), service, target, size, keyed)[0].Err
						})
						broken, well := queue, store
						if down == "store" {
							broken, well = store, queue
						}
						calls, others := broken.Count(faultproxy.Any), well.Count(firstAttempt)
						broken.Always(faultproxy.Any, fault)
						for _, a := range enqueueTasks(t.Context(), service, target, size, keyed) {
							if task.KindOf(a.Err) != task.Unavailable {
								t.Errorf("%s: %v", what, a.Err)
							}
						}
						calls, others = broken.Count(faultproxy.Any)-calls, well.Count(firstAttempt)-others
						if calls == 0 || calls > 2*size || others > 2*size {
							t.Errorf("%s: it is called %d times, and what is well %d times", what, calls, others)
						}
					})
				}
			}
		}
	}
	all.Wait()
}

// TestUnknownQueueCostsNoFurtherCalls: in a process that starts during the
// brown-out, each request looks the queue up once.
func TestUnknownQueueCostsNoFurtherCalls(t *testing.T) {
	items, messages := emulators.DynamoDB(t), emulators.SQS(t)
	awsemu.CreateTable(t, dynamodb.NewFromConfig(awsemu.Config(items.URL())), dynamostore.Definition("tasks"))
	queue := faultproxy.New(t, messages.URL())
	queue.Always(faultproxy.Any, faultproxy.AWSUnavailable)
	service := brownOut(items.URL(), queue.URL(), "sqs", messages.URL())
	if a := enqueueTasks(t.Context(), service, "sqs", 1, true)[0]; task.KindOf(a.Err) != task.Unavailable {
		t.Error(a.Err)
	}
	if n := queue.Count(faultproxy.Any); n != 2 {
		t.Errorf("it is called %d times, want 2", n)
	}
}

// firstAttempt matches calls that do not repeat another, as they do where an
// emulator has too much to do, nor read what a repeated one met: itself.
func firstAttempt(r *faultproxy.Request) bool {
	return r.Operation != "GetItem" && strings.HasPrefix(r.Header.Get("Amz-Sdk-Request"), "attempt=1")
}

// enqueueTasks enqueues a batch.
func enqueueTasks(ctx context.Context, service *task.Service, target string, size int, keyed bool) []task.Outcome {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	reqs := make([]task.Request, size)
	for i := range reqs {
		reqs[i] = task.Request{TaskName: "send", Args: jsontext.Value("[]"), Kwargs: jsontext.Value("{}"), Backend: "default"}
		if target == "scheduler" {
			reqs[i].RunAfter = task.At(time.Now().Add(time.Hour))
		}
		if keyed {
			reqs[i].Key = task.NewID()
		}
	}
	return service.EnqueueBatch(ctx, task.Call{Owner: "alice", BaseURL: "https://tasks.example.com"}, reqs)
}

// TestRetriesAreSpread: requests that failed together do not retry together.
func TestRetriesAreSpread(t *testing.T) {
	cfg := awsemu.Config("http://127.0.0.1")
	awssdk.Bound(&cfg)
	delays := map[time.Duration]bool{}
	for range 20 {
		d, err := cfg.Retryer().RetryDelay(1, errors.New("broken"))
		if err != nil || d < 0 || d > 200*time.Millisecond {
			t.Errorf("%v, %v", d, err)
		}
		delays[d] = true
	}
	if len(delays) < 15 {
		t.Errorf("20 retries have the delays %v", delays)
	}
}

// brownOut is the service as functions/aws wires it, with one backend.
func brownOut(store, queue, target, messages string) *task.Service {
	at := func(url string) aws.Config {
		cfg := awsemu.Config(url)
		awssdk.Bound(&cfg)
		return cfg
	}
	service := newRig(store).service
	service.Store = dynamostore.New(dynamodb.NewFromConfig(at(store)), "tasks", dynamostore.Options{})
	service.Log = slog.New(slog.DiscardHandler)
	b := task.Backend{Target: target, DefaultQueue: "tasks"}
	switch target {
	case "sqs":
		b.Dispatcher = sqsdispatch.New(sqs.NewFromConfig(at(queue)), sqsdispatch.Options{})
	case "scheduler":
		b.Dispatcher = sqsdispatch.New(sqs.NewFromConfig(at(messages)), sqsdispatch.Options{
			Scheduler: schedule.New(scheduler.NewFromConfig(at(queue)), schedule.Options{RoleARN: "arn:aws:iam::" + awsemu.Account + ":role/scheduler"}), ScheduleAlways: true,
		})
	case "sns":
		b.Dispatcher = snsdispatch.New(sns.NewFromConfig(at(queue)), snsdispatch.Options{ARNPrefix: awsemu.ARN("sns", "")})
	case "lambda":
		b.Dispatcher = lambdadispatch.New(lambda.NewFromConfig(at(queue)), lambdadispatch.Options{})
	}
	service.Backends = map[string]task.Backend{"default": b}
	return service
}
