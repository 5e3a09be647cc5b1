package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/blackbox"
	"github.com/taskgate/taskgate/tests/emulators/eventsource"
	"github.com/taskgate/taskgate/tests/emulators/lambdahost"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// drain puts what comes to a queue into the inbox.
func (c *cloud) drain(name string, inbox *blackbox.Inbox) {
	c.Helper()
	c.poll(name, func(_ context.Context, event []byte) ([]byte, error) {
		var e struct {
			Records []struct {
				Body              string
				MessageAttributes map[string]struct{ StringValue string }
			}
		}
		if err := json.Unmarshal(event, &e); err != nil {
			return nil, err
		}
		for _, r := range e.Records {
			var wrapped struct{ Message string }
			if err := json.Unmarshal([]byte(r.Body), &wrapped); err == nil && wrapped.Message != "" {
				r.Body = wrapped.Message // SNS's envelope
			}
			attributes := map[string]string{}
			for name, a := range r.MessageAttributes {
				attributes[name] = a.StringValue
			}
			if !inbox.Put([]byte(r.Body), attributes) {
				return nil, fmt.Errorf("not a message: %s", r.Body)
			}
		}
		return nil, nil
	})
}

func TestTheContract(t *testing.T) {
	for _, backend := range []string{"default", "topic", "scheduler", "function"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			if testing.Short() && backend != "default" {
				t.Skip("the race detector sees the suite with one target")
			}
			c := newCloud(t)
			c.fire(0)
			host, inbox := c.front(), blackbox.NewInbox()
			for _, name := range []string{queue, otherQueue, topicQueue} {
				c.drain(name, inbox)
			}
			c.lambda.Add(function, func(_ context.Context, payload []byte) error {
				if !inbox.Put(payload, nil) {
					return fmt.Errorf("not a message: %s", payload)
				}
				return nil
			}, 0)
			target := blackbox.Target{
				BaseURL: "https://" + eventsource.DefaultDomain, Front: &eventsource.Gateway{Invoke: host.Invoke},
				Key: "key-of-alice", OtherKey: "key-of-bob", Backend: backend, Receive: inbox.Receive,
			}
			if backend == "default" || backend == "scheduler" {
				target.Queue = otherQueue
			}
			blackbox.Run(t, target)
		})
	}
}

func TestATaskGoesThroughEachTarget(t *testing.T) {
	d := deploy(t)
	d.fire(0)
	for name, c := range map[string]struct{ members, route string }{
		"SQS":                      {`"backend":"default"`, "sqs"},
		"SQS, delayed":             {`"backend":"default","delay_seconds":1`, "sqs"},
		"SNS in SQS":               {`"backend":"topic"`, "sns"},
		"SNS, by the Scheduler":    {`"backend":"topic","delay_seconds":1`, "scheduler"},
		"Scheduler, due at once":   {`"backend":"scheduler"`, "sqs"},
		"Scheduler, fired":         {`"backend":"scheduler","delay_seconds":1`, "scheduler"},
		"Lambda":                   {`"backend":"function"`, "lambda"},
		"Lambda, by the Scheduler": {`"backend":"function","delay_seconds":1`, "scheduler"},
		"another queue":            {`"queue_name":"other"`, "sqs"},
	} {
		t.Run(name, func(t *testing.T) {
			doc := d.enqueue(`{"task_name":"add","args":[12345678901234567890,1],` + c.members + `}`)
			if doc.Dispatch.Route != c.route {
				t.Errorf("it went by %s, want %s", doc.Dispatch.Route, c.route)
			}
			if doc = d.finished(doc.ID); doc.Status != task.Successful || string(doc.ReturnValue) != "12345678901234567891" {
				t.Errorf("%s %s %v", doc.Status, doc.ReturnValue, doc.Errors)
			}
		})
	}
	for _, backend := range []string{"default", "topic", "function"} {
		t.Run("tried again: "+backend, func(t *testing.T) {
			doc := d.enqueue(`{"task_name":"flaky","backend":"` + backend + `"}`)
			if doc = d.finished(doc.ID); doc.Status != task.Successful || doc.Attempts != 2 {
				t.Errorf("%s after %d attempts, %v", doc.Status, doc.Attempts, doc.Errors)
			}
		})
	}
	for name, backend := range map[string]string{"its queue": "default", "the queue of its topic": "topic"} {
		t.Run("FAILED when "+name+" gives up on it", func(t *testing.T) {
			doc := d.enqueue(`{"task_name":"no-such-task","backend":"` + backend + `"}`)
			if doc = d.finished(doc.ID); doc.Status != task.Failed || doc.Attempts != 5 {
				t.Errorf("%s after %d attempts", doc.Status, doc.Attempts)
			}
		})
	}
	t.Run("with large arguments", func(t *testing.T) {
		text := strings.Repeat("x", 250<<10)
		for _, members := range []string{`"backend":"default"`, `"backend":"topic"`, `"backend":"function"`, `"backend":"function","delay_seconds":1`} {
			doc := d.enqueue(`{"task_name":"add","args":[1,2],"kwargs":{},"metadata":{},` + members + `}`)
			big := d.enqueue(`{"task_name":"echo","args":["` + text + `"],` + members + `}`)
			if doc = d.finished(doc.ID); doc.Status != task.Successful {
				t.Errorf("%s: %s %v", members, doc.Status, doc.Errors)
			}
			// Arguments and result together are more than an item holds.
			if big = d.finished(big.ID); big.Status != task.Failed || !strings.Contains(fmt.Sprint(big.Errors), "result-too-large") {
				t.Errorf("%s: %s %v", members, big.Status, big.Errors)
			}
		}
	})
	t.Run("looked up in the table", func(t *testing.T) {
		id := d.enqueue(`{"task_name":"add","args":[1,2]}`).ID
		d.finished(id)
		out, err := d.dynamo.GetItem(t.Context(), &dynamodb.GetItemInput{
			TableName: aws.String(table), ConsistentRead: aws.Bool(true), Key: map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: id}},
		})
		if err != nil {
			t.Fatal(err)
		}
		status, _ := out.Item["status"].(*types.AttributeValueMemberS)
		value, _ := out.Item["return_value"].(*types.AttributeValueMemberS)
		if status == nil || status.Value != "SUCCESSFUL" || value == nil || value.Value != "3" {
			t.Errorf("%v", out.Item)
		}
	})
	t.Run("looked up by the log", func(t *testing.T) {
		line, err := d.front.AwaitLog(t.Context(), `"endpoint":"enqueue"`)
		for _, want := range []string{`"request_id":"`, `"lambda_request_id":"`, `"xray_trace_id":"Root=`, `"task_id":"`, `"caller":"alice"`} {
			if err != nil || !strings.Contains(line, want) {
				t.Errorf("%s is not in %s, %v", want, line, err)
			}
		}
	})
}

// changing are the parts of a message that are of one run.
var changing = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[78][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|"enqueued_at":"[^"]*"|"token":"[^"]*"`)

func TestTheMessageIsAsItIsDocumented(t *testing.T) {
	c := newCloud(t)
	gateway := &eventsource.Gateway{Invoke: c.front().Invoke}
	d := &deployment{cloud: c, base: "https://" + eventsource.DefaultDomain}
	req := newRequest(t, d.base+"/v1/tasks", `{"task_name":"send_email","args":["é<&>\u2028",1.10,12345678901234567890],"kwargs":{"b":1,"a":null},
		"max_attempts":5,"metadata":{"order":"42"},"takes_context":true,"expires_at":"2999-01-31T12:00:00+01:00"}`)
	req.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	req.Header.Set("Tracestate", "a=1,b=2")
	resp, err := gateway.RoundTrip(req)
	if err != nil || resp.StatusCode != 202 {
		t.Fatalf("%v, %v", resp, err)
	}
	out, err := c.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: aws.String(c.url(queue)), WaitTimeSeconds: 5, MessageAttributeNames: []string{"All"},
	})
	if err != nil || len(out.Messages) != 1 {
		t.Fatalf("%d messages, %v", len(out.Messages), err)
	}
	got := changing.ReplaceAllStringFunc(*out.Messages[0].Body, func(s string) string {
		if name, _, ok := strings.Cut(s, ":"); ok {
			return name + ":…"
		}
		return "ID"
	}) + "\n"
	golden := filepath.Join("testdata", "message.json")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("the message is\n%s\nwant\n%s, %v", got, want, err)
	}
	for name, want := range map[string]string{"task_name": "send_email", "traceparent": req.Header.Get("Traceparent")} {
		if a := out.Messages[0].MessageAttributes[name]; aws.ToString(a.StringValue) != want {
			t.Errorf("the attribute %s is %q", name, aws.ToString(a.StringValue))
		}
	}
}

// TestAKilledServiceGoesOn: nothing of it was in the process. While it is killed
// nothing is under way, for the store's emulator does not survive that.
func TestAKilledServiceGoesOn(t *testing.T) {
	d := deploy(t)
	id := d.enqueue(`{"task_name":"sleep","args":[0.1],"delay_seconds":2}`).ID
	d.front.Restart()
	if doc := d.finished(id); doc.Status != task.Successful {
		t.Errorf("%s %v", doc.Status, doc.Errors)
	}
}

func TestAllMistakesInTheSettingsAreReportedTogether(t *testing.T) {
	for _, c := range []struct{ environ, want []string }{
		{nil, []string{"TASKGATE_TASKS", "TASKGATE_TABLE is required", "TASKGATE_API_KEYS is required", "TASKGATE_TOKEN_SECRETS is required"}},
		{
			[]string{
				"TASKGATE_TABEL=t", "TASKGATE_AUTH=none", "TASKGATE_MAX_WAIT=1h",
				`TASKGATE_TASKS={"default":{"BACKEND":"SQSBackend","OPTIONS":{"AWS_REGON":"x"}},"azure":{"BACKEND":"ServiceBusQueueBackend","OPTIONS":{}}}`,
			},
			[]string{"TASKGATE_TABLE", "AWS_REGION", "TASKGATE_MAX_WAIT", "keys or platform"},
		},
		{
			[]string{"TASKGATE_TABLE=t", `TASKGATE_TASKS={"default":{"BACKEND":"SQSBackend"}}`, "TASKGATE_API_KEYS=" + apiKey("a"), "TASKGATE_TOKEN_SECRETS=" + strings.Repeat("s", 32)},
			[]string{"AWS_REGION"},
		},
		{
			[]string{`TASKGATE_TASKS={
				"default":{"BACKEND":"SQSBackend","QUEUES":["fine.fifo","a/b"],"OPTIONS":{"AWS_DEFAULT_QUEUE_NAME":"c.d"}},
				"topic":{"BACKEND":"SNSTopicBackend","QUEUES":["e f"],"OPTIONS":{"AWS_SNS_ARN_PREFIX":"arn:aws:sns:eu-west-1:123456789012:"}},
				"function":{"BACKEND":"AWSLambdaBackend","QUEUES":["arn:aws:sqs:eu-west-1:123456789012:g"]}}`},
			[]string{`"a/b"`, `"c.d"`, "SQS queue", `"e f"`, "SNS topic", `123456789012:g"`, "Lambda function"},
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		cmd := exec.CommandContext(ctx, frontBinary)
		cmd.Env = c.environ
		if len(cmd.Env) == 0 {
			cmd.Env = []string{"NOTHING=set"}
		}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("%q: it ended with %v: %s", c.environ, err, out)
		}
		for _, want := range c.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%q is not mentioned in: %s", want, out)
			}
		}
		cancel()
	}
}

// TestStartsWithoutItsServices: they may be unreachable for a while, and Lambda bills
// each init that fails.
func TestStartsWithoutItsServices(t *testing.T) {
	host := lambdahost.Start(t, frontBinary, lambdahost.Options{Env: []string{
		"AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=s", "TASKGATE_TASKS=" + tasks, "TASKGATE_TABLE=" + table,
		"TASKGATE_TOKEN_SECRETS=" + strings.Repeat("s", 32), "TASKGATE_API_KEYS=" + apiKey("alice"),
	}})
	resp, err := (&eventsource.Gateway{Invoke: host.Invoke}).RoundTrip(newRequest(t, "https://x/v1/tasks", `{"task_name":"t"}`))
	if err != nil || resp.StatusCode != 503 {
		t.Errorf("%v, %v", resp, err)
	}
}
