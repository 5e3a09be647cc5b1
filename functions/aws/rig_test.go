package main_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/taskgate/taskgate/adapters/aws/dynamostore"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/apitest"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/eventsource"
	"github.com/taskgate/taskgate/tests/emulators/lambdadouble"
	"github.com/taskgate/taskgate/tests/emulators/lambdahost"
	"github.com/taskgate/taskgate/tests/emulators/schedulerdouble"
)

// The real things, built once for all tests.
var frontBinary, workerBinary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "taskgate")
	if err != nil {
		panic(err)
	}
	frontBinary, workerBinary = filepath.Join(dir, "front", "bootstrap"), filepath.Join(dir, "worker", "bootstrap")
	for path, source := range map[string]string{frontBinary: ".", workerBinary: "../aws-worker"} {
		if out, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", path, source).CombinedOutput(); err != nil {
			panic(fmt.Sprintf("go build: %v\n%s", err, out))
		}
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// The emulated account's resources. The topic's only subscriber is a queue.
const (
	table      = "tasks-table"
	queue      = "tasks"
	otherQueue = "other"
	deadQueue  = "tasks-dlq"
	topic      = "events"
	topicQueue = "events-queue"
	function   = "worker"
)

// cloud is the emulated account.
type cloud struct {
	*testing.T
	dynamo    *dynamodb.Client
	sqs       *sqs.Client
	sns       *sns.Client
	scheduler *schedulerdouble.Scheduler
	lambda    *lambdadouble.Lambda
	endpoints map[string]string // by the SDK's name of the service
	timeout   time.Duration     // of the service; 0 = lambdahost's
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	messaging, store := emulators.SQS(t), emulators.DynamoDB(t)
	c := &cloud{
		T:      t,
		dynamo: dynamodb.NewFromConfig(awsemu.Config(store.URL())),
		sqs:    sqs.NewFromConfig(awsemu.Config(messaging.URL())),
		sns:    sns.NewFromConfig(awsemu.Config(messaging.URL())),
		lambda: lambdadouble.New(t),
	}
	c.scheduler = schedulerdouble.New(t, time.Now(), schedulerdouble.Targets{
		SQS: c.sqs, SNS: c.sns, Lambda: lambda.NewFromConfig(awsemu.Config(c.lambda.URL())),
	})
	awsemu.CreateTable(t, c.dynamo, dynamostore.Definition(table))
	c.create(deadQueue, nil)
	redrive := map[string]string{"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"5"}`, awsemu.ARN("sqs", deadQueue))}
	for _, name := range []string{queue, otherQueue, topicQueue} {
		c.create(name, redrive)
	}
	made, err := c.sns.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String(topic)})
	if err == nil {
		_, err = c.sns.Subscribe(t.Context(), &sns.SubscribeInput{
			TopicArn: made.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(awsemu.ARN("sqs", topicQueue)),
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	c.endpoints = map[string]string{
		"DYNAMODB": store.URL(), "SQS": messaging.URL(), "SNS": messaging.URL(), "SCHEDULER": c.scheduler.URL(), "LAMBDA": c.lambda.URL(),
	}
	return c
}

func (c *cloud) create(name string, attributes map[string]string) {
	c.Helper()
	if _, err := c.sqs.CreateQueue(c.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes}); err != nil {
		c.Fatal(err)
	}
}

func (c *cloud) url(name string) string {
	c.Helper()
	out, err := c.sqs.GetQueueUrl(c.Context(), &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		c.Fatal(err)
	}
	return *out.QueueUrl
}

// poll hands what comes to a queue to a function, until the test ends.
func (c *cloud) poll(name string, invoke eventsource.Invoke) {
	c.Helper()
	(&eventsource.Queue{Client: c.sqs, URL: c.url(name), Name: name, Invoke: invoke, Visibility: 1}).Start(c)
}

// fire lets the Scheduler's clock run, ahead of the real one by as much.
func (c *cloud) fire(ahead time.Duration) {
	ctx, stop := context.WithCancel(context.Background())
	var firing sync.WaitGroup
	firing.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			if err := c.scheduler.Advance(ctx, time.Until(c.scheduler.Now())*-1+ahead); err != nil && ctx.Err() == nil {
				c.Error(err)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	c.Cleanup(func() { stop(); firing.Wait() })
}

// tasks are the settings of all four backends.
var tasks = strings.ReplaceAll(fmt.Sprintf(`{
	"default": {"BACKEND": "cloud_tasks_aws.backends.SQSBackend", "QUEUES": [%q, %q], "OPTIONS": {"AWS_DEFAULT_QUEUE_NAME": %[1]q, ROLE}},
	"topic": {"BACKEND": "SNSTopicBackend", "QUEUES": [%[3]q], "OPTIONS": {"AWS_SNS_ARN_PREFIX": %[4]q, ROLE}},
	"scheduler": {"BACKEND": "EventBridgeSchedulerBackend", "QUEUES": [%[1]q, %[2]q], "OPTIONS": {"AWS_DEFAULT_SQS_QUEUE_NAME": %[1]q, ROLE}},
	"function": {"BACKEND": "AWSLambdaBackend", "QUEUES": [%[5]q], "OPTIONS": {ROLE}}}`,
	queue, otherQueue, topic, awsemu.ARN("sns", ""), function),
	"ROLE", `"EVENTBRIDGE_SCHEDULER_ROLE_ARN": "arn:aws:iam::`+awsemu.Account+`:role/scheduler"`)

func apiKey(name string) string {
	sum := sha256.Sum256([]byte("key-of-" + name))
	return name + ":enqueue+read:" + hex.EncodeToString(sum[:])
}

// front starts the service. It takes several events at once, as a managed
// instance does: https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances.html
func (c *cloud) front(environ ...string) *lambdahost.Host {
	c.Helper()
	return lambdahost.Start(c, frontBinary, lambdahost.Options{Name: "taskgate", Timeout: c.timeout, Env: append(append([]string{
		"AWS_LAMBDA_MAX_CONCURRENCY=32",
		"TASKGATE_TASKS=" + tasks, "TASKGATE_TABLE=" + table, "TASKGATE_TOKEN_SECRETS=" + strings.Repeat("s", 32),
		"TASKGATE_API_KEYS=" + apiKey("alice") + "," + apiKey("bob"),
	}, awsemu.Environ(c.endpoints)...), environ...)})
}

// deployment is the service and the worker, as template.yaml puts them together.
type deployment struct {
	*cloud
	base   string // the service's, for clients and workers
	front  *lambdahost.Host
	worker *lambdahost.Host
}

func deploy(t *testing.T) *deployment {
	d := deployFront(newCloud(t))
	d.work()
	return d
}

// deployFront starts the service alone.
func deployFront(c *cloud, environ ...string) *deployment {
	d := &deployment{cloud: c}
	var gateway eventsource.Gateway
	server := httptest.NewServer(&httputil.ReverseProxy{Transport: &gateway, Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = "https", r.In.Host
	}})
	c.Cleanup(server.Close)
	d.base = server.URL
	d.front = d.cloud.front(append(environ, "TASKGATE_PUBLIC_URL="+d.base)...)
	gateway.Invoke = d.front.Invoke
	return d
}

// work starts the worker, and leads to it.
func (d *deployment) work() {
	d.worker = lambdahost.Start(d, workerBinary, lambdahost.Options{Name: function, Env: []string{
		"AWS_LAMBDA_MAX_CONCURRENCY=8",
		"TASKGATE_EVENTS_BASE=" + d.base, "TASKGATE_DEAD_LETTER_QUEUE_ARNS=" + awsemu.ARN("sqs", deadQueue),
	}})
	for _, name := range []string{queue, otherQueue, topicQueue, deadQueue} {
		d.poll(name, d.worker.Invoke)
	}
	d.lambda.Add(function, d.worker.Handle, 2)
}

// send sends a request, and holds it and its answer to the contract.
func (d *deployment) send(method, path, body string, headers ...string) (int, []byte) {
	d.Helper()
	client := apitest.Client{URL: d.base, Key: "key-of-alice"}
	status, answer, err := client.Send(d.Context(), method, path, body, headers...)
	if err != nil {
		d.Fatalf("%s %s: %v", method, path, err)
	}
	return status, answer
}

func (d *deployment) document(status int, answer []byte) task.Document {
	d.Helper()
	return apitest.Document(d, status, answer)
}

func (d *deployment) enqueue(body string) task.Document {
	d.Helper()
	return d.document(d.send("POST", "/v1/tasks", body))
}

// finished waits for the task to finish.
func (d *deployment) finished(id string) task.Document {
	d.Helper()
	return apitest.Finished(d, id, func(path string) (int, []byte) { return d.send("GET", path, "") })
}

// newRequest is a POST by alice.
func newRequest(t *testing.T, to, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", to, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer key-of-alice")
	return req
}
