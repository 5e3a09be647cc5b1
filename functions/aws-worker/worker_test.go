package main_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/eventsource"
	"github.com/taskgate/taskgate/tests/emulators/lambdadouble"
	"github.com/taskgate/taskgate/tests/emulators/lambdahost"
	"github.com/taskgate/taskgate/tests/wait"
)

// binary is the real thing, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "taskgate")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "bootstrap")
	if out, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("go build: %v\n%s", err, out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// bed is a service over fakes, a queue in the emulator with a dead-letter queue,
// and the worker's binary.
type bed struct {
	*testing.T
	service *task.Service
	sent    *tasktest.Queue
	call    task.Call
	sqs     *sqs.Client
	sns     *sns.Client
	worker  *lambdahost.Host
	url     string       // the queue's
	ahead   atomic.Int64 // of time.Now is the service's clock, nanoseconds
}

const (
	queue = "tasks"
	dead  = "tasks-dlq"
)

func newBed(t *testing.T) *bed {
	b := &bed{T: t, sent: &tasktest.Queue{}, call: task.Call{Owner: "me"}}
	log := slog.New(slog.DiscardHandler)
	b.service = &task.Service{
		Store: &tasktest.Store{}, Backends: map[string]task.Backend{"default": {Dispatcher: b.sent, DefaultQueue: queue}},
		Tokens:    task.Tokens{Secrets: [][]byte{[]byte(strings.Repeat("s", task.MinSecretBytes))}},
		ResultTTL: time.Hour, MaxWait: 20 * time.Second, MaxPayloadBytes: 1 << 20,
		Now:   func() time.Time { return time.Now().Add(time.Duration(b.ahead.Load())) },
		NewID: task.NewID, Log: log,
	}
	server := httptest.NewServer(httpapi.New(httpapi.Config{Service: b.service, Auth: httpapi.AllowAll, Log: log}))
	t.Cleanup(server.Close)
	b.call.BaseURL = server.URL

	emulator := emulators.SQS(t)
	config := awsemu.Config(emulator.URL())
	b.sqs, b.sns = sqs.NewFromConfig(config), sns.NewFromConfig(config)
	b.create(dead, nil)
	b.url = b.create(queue, map[string]string{
		"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"2"}`, awsemu.ARN("sqs", dead)),
	})
	b.worker = lambdahost.Start(t, binary, lambdahost.Options{Name: "worker", Env: []string{
		"TASKGATE_EVENTS_BASE=" + server.URL, "TASKGATE_DEAD_LETTER_QUEUE_ARNS=" + awsemu.ARN("sqs", dead),
	}})
	return b
}

func (b *bed) create(name string, attributes map[string]string) string {
	b.Helper()
	out, err := b.sqs.CreateQueue(b.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		b.Fatal(err)
	}
	return *out.QueueUrl
}

// enqueue makes a task and returns its message.
func (b *bed) enqueue(body string) (id, message string) {
	b.Helper()
	req, err := task.ParseRequest([]byte(body), false)
	if err != nil {
		b.Fatal(err)
	}
	accepted, err := b.service.Enqueue(b.Context(), b.call, req)
	if err != nil {
		b.Fatal(err)
	}
	m, err := b.sent.Receive(b.Context())
	if err != nil || m.ID != accepted.Task.ID {
		b.Fatalf("%s: %v", m.ID, err)
	}
	return m.ID, string(m.Body)
}

func (b *bed) send(message string) {
	b.Helper()
	if _, err := b.sqs.SendMessage(b.Context(), &sqs.SendMessageInput{QueueUrl: &b.url, MessageBody: &message}); err != nil {
		b.Fatal(err)
	}
}

// poll hands what is in a queue to the worker, as an event source mapping does.
func (b *bed) poll(name string) {
	b.Helper()
	q := &eventsource.Queue{Client: b.sqs, URL: strings.TrimSuffix(b.url, queue) + name, Name: name, Invoke: b.worker.Invoke, Visibility: 1}
	q.Start(b)
}

// finished waits for the task to finish.
func (b *bed) finished(id string) task.Document {
	b.Helper()
	for deadline := time.Now().Add(wait.Patience); ; {
		doc, err := b.service.Get(b.Context(), b.call, id, 5*time.Second)
		if err != nil {
			b.Fatal(err)
		}
		if doc.IsFinished {
			return doc.Document
		}
		if time.Now().After(deadline) {
			b.Fatalf("the task is still %s", doc.State)
		}
	}
}

func (b *bed) wantSum(id string) {
	b.Helper()
	if doc := b.finished(id); doc.State != task.StateSucceeded || string(doc.ReturnValue) != "3" {
		b.Errorf("%s %s %v", doc.State, doc.ReturnValue, doc.Errors)
	}
}

const add = `{"task_name":"add","args":[1,2]}`

func TestATaskFromAQueueIsRunAndReported(t *testing.T) {
	b := newBed(t)
	b.poll(queue)
	id, message := b.enqueue(add)
	b.send(message)
	b.wantSum(id)
	if _, err := b.worker.AwaitLog(t.Context(), `"lambda_request_id":`); err != nil {
		t.Error(err)
	}
}

func TestATaskFromATopicIsRunAndReported(t *testing.T) {
	for name, raw := range map[string]string{"raw": "true", "in SNS's envelope": "false"} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			topic, err := b.sns.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("tasks")})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.sns.Subscribe(t.Context(), &sns.SubscribeInput{
				TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(awsemu.ARN("sqs", queue)),
				Attributes: map[string]string{"RawMessageDelivery": raw},
			}); err != nil {
				t.Fatal(err)
			}
			b.poll(queue)
			id, message := b.enqueue(add)
			if _, err := b.sns.Publish(t.Context(), &sns.PublishInput{TopicArn: topic.TopicArn, Message: &message}); err != nil {
				t.Fatal(err)
			}
			b.wantSum(id)
		})
	}
}

func TestATaskThatFailsOnceIsTriedAgainByTheQueueOrByLambda(t *testing.T) {
	const flaky = `{"task_name":"flaky"}`
	t.Run("SQS", func(t *testing.T) {
		b := newBed(t)
		b.poll(queue)
		id, message := b.enqueue(flaky)
		b.send(message)
		if doc := b.finished(id); doc.State != task.StateSucceeded || doc.Attempts != 2 {
			t.Errorf("%s after %d attempts", doc.State, doc.Attempts)
		}
	})
	t.Run("Lambda", func(t *testing.T) {
		b := newBed(t)
		double := lambdadouble.New(t)
		double.Add("worker", b.worker.Handle, 2)
		id, message := b.enqueue(flaky)
		invoke(b, double, message)
		double.Wait()
		if doc := b.finished(id); doc.State != task.StateSucceeded || doc.Attempts != 2 || len(double.Dropped()) != 0 {
			t.Errorf("%s after %d attempts", doc.State, doc.Attempts)
		}
	})
}

func TestATaskWhoseMessageDiesIsFailed(t *testing.T) {
	b := newBed(t)
	b.poll(queue)
	b.poll(dead)
	id, message := b.enqueue(`{"task_name":"flaky","kwargs":{"failures":100}}`)
	b.send(message)
	if doc := b.finished(id); doc.State != task.StateFailed || doc.Attempts != 2 {
		t.Errorf("%s after %d attempts: %v", doc.State, doc.Attempts, doc.Errors)
	}
}

// TestTheNextDeliveryTakesOverFromAWorkerThatDied: its lease has to lapse first.
func TestTheNextDeliveryTakesOverFromAWorkerThatDied(t *testing.T) {
	for name, trigger := range map[string]func(message string) (event, again string){
		"Lambda": func(message string) (string, string) { return message, "" },
		"SQS": func(message string) (string, string) {
			return fmt.Sprintf(`{"Records":[{"messageId":"m-1","eventSource":"aws:sqs","eventSourceARN":%q,"body":%q}]}`, awsemu.ARN("sqs", queue), message),
				`{"batchItemFailures":[{"itemIdentifier":"m-1"}]}`
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			id, message := b.enqueue(`{"task_name":"sleep","args":[20]}`)
			ctx, cancel := context.WithTimeout(t.Context(), wait.Patience)
			defer cancel()
			first, again := trigger(message)
			died := make(chan error, 1)
			go func() {
				_, err := b.worker.Invoke(ctx, []byte(first))
				died <- err
			}()
			b.started(ctx, id)
			b.worker.Kill()
			if err := <-died; !errors.Is(err, lambdahost.ErrExited) {
				t.Fatalf("the invocation ended with %v", err)
			}
			b.worker.Restart()
			answer, err := b.worker.Invoke(ctx, []byte(first))
			if (err == nil) != (again != "") || string(answer) != again {
				t.Errorf("while the lease is held: %s, %v", answer, err)
			}
			b.ahead.Store(int64(time.Minute)) // the lease's 45 s are over
			next, _ := trigger(strings.Replace(message, `"args":[20]`, `"args":[0]`, 1))
			if _, err := b.worker.Invoke(ctx, []byte(next)); err != nil {
				t.Error(err)
			}
			if doc := b.finished(id); doc.State != task.StateSucceeded || doc.Attempts != 2 {
				t.Errorf("%s after %d attempts", doc.State, doc.Attempts)
			}
		})
	}
}

// started waits until an attempt runs.
func (b *bed) started(ctx context.Context, id string) {
	b.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		doc, err := b.service.Get(ctx, b.call, id, 0)
		if err != nil {
			b.Fatal(err)
		}
		if doc.State == task.StateRunning {
			return
		}
		<-tick.C
	}
}

func TestEveryMistakeInTheSettingsIsReportedAtOnce(t *testing.T) {
	cmd := exec.Command(binary)
	cmd.Env = []string{"TASKGATE_EVENT_BASE=https://x", "TASKGATE_DEAD_LETTER_QUEUE_ARNS=tasks-dlq"}
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("it started")
	}
	for _, want := range []string{"TASKGATE_EVENTS_BASE is required", "did you mean TASKGATE_EVENTS_BASE", "arn:aws:sqs"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not mentioned in: %s", want, out)
		}
	}
}
