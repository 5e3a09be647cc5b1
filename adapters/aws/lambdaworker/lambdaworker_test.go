package lambdaworker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/taskgate/taskgate/adapters/aws/lambdaworker"
	"github.com/taskgate/taskgate/core/worker"
)

var (
	_ lambda.Handler      = (*lambdaworker.Handler)(nil)
	_ lambdaworker.Worker = (*worker.Worker)(nil)
)

// recording is a worker that notes its deliveries, and refuses those whose body
// contains "fail".
type recording struct {
	mu   sync.Mutex
	got  []worker.Delivery
	dead []worker.Delivery
	wait func(body string)
}

func (r *recording) note(to *[]worker.Delivery, d worker.Delivery) worker.Outcome {
	r.mu.Lock()
	*to = append(*to, d)
	r.mu.Unlock()
	if r.wait != nil {
		r.wait(string(d.Body))
	}
	return worker.Outcome{Acknowledge: !strings.Contains(string(d.Body), "fail")}
}

func (r *recording) Process(_ context.Context, d worker.Delivery) worker.Outcome {
	return r.note(&r.got, d)
}

func (r *recording) DeadLetter(_ context.Context, d worker.Delivery) worker.Outcome {
	return r.note(&r.dead, d)
}

func (r *recording) bodies() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, d := range r.got {
		all = append(all, string(d.Body))
	}
	return all
}

const (
	queue = "arn:aws:sqs:us-east-1:123456789012:tasks"
	dlq   = "arn:aws:sqs:us-east-1:123456789012:tasks-dlq"
	topic = "arn:aws:sns:us-east-1:123456789012:tasks"
)

// sqs makes an event of messages "group:body"; each body is the message's id too.
func sqs(arn string, messages ...string) []byte {
	var records []map[string]any
	for _, m := range messages {
		group, body, _ := strings.Cut(m, ":")
		attributes := map[string]string{"ApproximateReceiveCount": "1"}
		if group != "" {
			attributes["MessageGroupId"] = group
		}
		records = append(records, map[string]any{
			"messageId": body, "receiptHandle": "r", "body": body, "attributes": attributes, "md5OfBody": "",
			"messageAttributes": map[string]any{}, "eventSource": "aws:sqs", "eventSourceARN": arn, "awsRegion": "us-east-1",
		})
	}
	b, err := json.Marshal(map[string]any{"Records": records})
	if err != nil {
		panic(err)
	}
	return b
}

// failures returns the ids in the answer to an SQS event.
func failures(t *testing.T, answer []byte, err error) (ids []string) {
	t.Helper()
	var a struct {
		BatchItemFailures []struct{ ItemIdentifier string }
	}
	if err != nil || json.Unmarshal(answer, &a) != nil || !strings.Contains(string(answer), `"batchItemFailures":[`) {
		t.Fatalf("%s, %v", answer, err)
	}
	for _, f := range a.BatchItemFailures {
		ids = append(ids, f.ItemIdentifier)
	}
	return ids
}

func TestOneBadMessageDoesNotBringBackTheGoodOnes(t *testing.T) {
	r := &recording{}
	answer, err := (&lambdaworker.Handler{Worker: r}).Invoke(t.Context(), sqs(queue, ":a", ":b", ":fail-c", ":d"))
	if got := failures(t, answer, err); !slices.Equal(got, []string{"fail-c"}) || len(r.bodies()) != 4 {
		t.Errorf("failures %q of %q", got, r.bodies())
	}
}

func TestMessagesOfBatchRunConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := &recording{wait: func(string) { <-release }}
		done := make(chan struct{})
		go func() {
			defer close(done)
			answer, err := (&lambdaworker.Handler{Worker: r}).Invoke(t.Context(), sqs(queue, "g:a", "g:b", ":c"))
			if got := failures(t, answer, err); len(got) != 0 {
				t.Errorf("failures %q", got)
			}
		}()
		synctest.Wait()
		if got := r.bodies(); len(got) != 3 { // groups of a standard queue say nothing of the order
			t.Errorf("running: %q", got)
		}
		close(release)
		<-done
	})
}

func TestFailureFailsTheRestOfItsGroupOnly(t *testing.T) {
	r := &recording{}
	answer, err := (&lambdaworker.Handler{Worker: r}).Invoke(t.Context(),
		sqs(queue+".fifo", "one:a", "two:b", "one:fail-c", "two:d", "one:e", "two:f", "one:g"))
	if got := failures(t, answer, err); !slices.Equal(got, []string{"fail-c", "e", "g"}) {
		t.Errorf("failures %q", got)
	}
	one, two := []string{}, []string{}
	for _, body := range r.bodies() {
		if slices.Contains([]string{"a", "fail-c", "e", "g"}, body) {
			one = append(one, body)
		} else {
			two = append(two, body)
		}
	}
	if !slices.Equal(one, []string{"a", "fail-c"}) || !slices.Equal(two, []string{"b", "d", "f"}) {
		t.Errorf("ran %q and %q", one, two)
	}
}

func TestMessagesOfDeadLetterQueueAreReportedAndNotRun(t *testing.T) {
	r := &recording{}
	h := &lambdaworker.Handler{Worker: r, DeadLetterQueues: []string{dlq}}
	answer, err := h.Invoke(t.Context(), sqs(dlq, ":a", ":fail-b"))
	if got := failures(t, answer, err); !slices.Equal(got, []string{"fail-b"}) || len(r.got) != 0 || len(r.dead) != 2 {
		t.Errorf("failures %q, ran %q, reported %q", got, r.got, r.dead)
	}
}

func TestMessageOfEachTriggerReachesTheWorkerUnchanged(t *testing.T) {
	const message = `{"task_name":"add","args":["é\u0001",1.10]}`
	quoted, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	envelope := fmt.Sprintf(`{"Type":"Notification","MessageId":"m","TopicArn":%q,"Message":%s,"Timestamp":"2026-01-01T00:00:00.000Z",
		"MessageAttributes":{"task_id":{"Type":"String","Value":"1"},"bytes":{"Type":"Binary","Value":"aGk="}}}`, topic, quoted)
	inSQS := func(body, attributes string) string {
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"Records":[{"messageId":"m","eventSource":"aws:sqs","eventSourceARN":%q,"body":%s,"attributes":{},"messageAttributes":%s}]}`, queue, text, attributes)
	}
	for name, c := range map[string]struct {
		event      string
		attributes map[string]string
	}{
		"SQS":           {inSQS(message, `{"task_id":{"stringValue":"1","stringListValues":[],"binaryListValues":[],"dataType":"String"}}`), map[string]string{"task_id": "1"}},
		"SNS in SQS":    {inSQS(envelope, `{}`), map[string]string{"task_id": "1", "bytes": "hi"}},
		"SNS":           {fmt.Sprintf(`{"Records":[{"EventSource":"aws:sns","EventVersion":"1.0","EventSubscriptionArn":%q,"Sns":%s}]}`, topic, envelope), map[string]string{"task_id": "1", "bytes": "hi"}},
		"Lambda itself": {message, nil},
		"a failure destination in SQS": {inSQS(`{"version":"1.0","requestContext":{"condition":"RetriesExhausted","approximateInvokeCount":3},"requestPayload":`+message+
			`,"responseContext":{"statusCode":200}}`, `{}`), nil},
		"the Scheduler's dead letter for a queue": {inSQS(`{"QueueUrl":"https://sqs/q","MessageBody":`+string(quoted)+
			`,"MessageAttributes":{"task_id":{"DataType":"String","StringValue":"1"}}}`, `{"ERROR_CODE":{"stringValue":"X","dataType":"String"}}`), map[string]string{"task_id": "1"}},
		"the Scheduler's dead letter for a topic": {inSQS(`{"TopicArn":"`+topic+`","Message":`+string(quoted)+
			`,"MessageAttributes":{"task_id":{"DataType":"String","StringValue":"1"}}}`, `{}`), map[string]string{"task_id": "1"}},
		"the Scheduler's dead letter for a function": {inSQS(message, `{"ERROR_CODE":{"stringValue":"X","dataType":"String"}}`), map[string]string{"ERROR_CODE": "X"}},
	} {
		r := &recording{}
		if _, err := (&lambdaworker.Handler{Worker: r}).Invoke(t.Context(), []byte(c.event)); err != nil || len(r.got) != 1 {
			t.Errorf("%s: %d deliveries, %v", name, len(r.got), err)
			continue
		}
		if d := r.got[0]; string(d.Body) != message || !maps.Equal(d.Attributes, c.attributes) {
			t.Errorf("%s: %s, %v", name, d.Body, d.Attributes)
		}
	}
}

// TestDeadLettersAreTakenOutOfTheirEnvelopes goes through the ways in which AWS
// hands on what a function did not do.
func TestDeadLettersAreTakenOutOfTheirEnvelopes(t *testing.T) {
	const message = `{"task_name":"add","args":["é",1.10],"id":"1"}`
	text := func(v string) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	notification := func(message string) string {
		return fmt.Sprintf(`{"Type":"Notification","TopicArn":%q,"Message":%s,"MessageAttributes":{"task_id":{"Type":"String","Value":"1"}}}`, topic, text(message))
	}
	snsEvent := func(message string) string {
		return fmt.Sprintf(`{"Records":[{"EventSource":"aws:sns","EventVersion":"1.0","Sns":%s}]}`, notification(message))
	}
	record := func(payload string) string {
		return `{"version":"1.0","requestContext":{"condition":"RetriesExhausted","approximateInvokeCount":3},"requestPayload":` + payload + `,"responseContext":{"statusCode":200}}`
	}
	bus := func(detail string) string {
		return `{"version":"0","id":"e","detail-type":"Lambda Function Invocation Result - Failure","source":"lambda","resources":[],"detail":` + detail + `}`
	}
	fromQueue := func(body string) string {
		return fmt.Sprintf(`{"Records":[{"messageId":"m","eventSource":"aws:sqs","eventSourceARN":%q,"body":%s,"attributes":{},"messageAttributes":{}}]}`, dlq, text(body))
	}
	for name, event := range map[string]string{
		"the event of a function that SNS triggers":  fromQueue(snsEvent(message)),
		"the event of a function that is invoked":    fromQueue(message),
		"a failure record":                           fromQueue(record(message)),
		"a failure record of an SNS event":           fromQueue(record(snsEvent(message))),
		"a failure record by SNS":                    fromQueue(notification(record(message))),
		"a failure record by SNS, of an SNS event":   fromQueue(notification(record(snsEvent(message)))),
		"a failure record by EventBridge":            fromQueue(bus(record(message))),
		"that, of an SNS event, by two topics":       fromQueue(notification(notification(bus(record(snsEvent(message)))))),
		"SNS within SNS":                             fromQueue(notification(notification(message))),
		"a failure record as the event":              record(message),
		"a failure record of an SNS event, likewise": record(snsEvent(message)),
		"a failure record by EventBridge, likewise":  bus(record(message)),
		"a failure record as an SNS event":           snsEvent(record(message)),
	} {
		r := &recording{}
		h := &lambdaworker.Handler{Worker: r, DeadLetterQueues: []string{dlq}}
		if _, err := h.Invoke(t.Context(), []byte(event)); err != nil || len(r.got) != 0 || len(r.dead) != 1 {
			t.Errorf("%s: %d run, %d reported, %v", name, len(r.got), len(r.dead), err)
			continue
		}
		if d := r.dead[0]; string(d.Body) != message || strings.Contains(event, "task_id") && d.Attributes["task_id"] != "1" {
			t.Errorf("%s: %s, %v", name, d.Body, d.Attributes)
		}
	}
	for name, event := range map[string]string{
		"a record of a success": strings.ReplaceAll(record(message), "RetriesExhausted", "Success"),
		"an event of a bus":     bus(`{"n":1}`),
	} {
		r := &recording{}
		if _, err := (&lambdaworker.Handler{Worker: r}).Invoke(t.Context(), []byte(event)); err == nil || len(r.got)+len(r.dead) != 0 {
			t.Errorf("%s: %d run, %d reported, %v", name, len(r.got), len(r.dead), err)
		}
	}
}

func TestFailureOfOwnEventFailsTheInvocation(t *testing.T) {
	for _, event := range []string{
		`{"task_name":"fail"}`,
		`{"Records":[{"EventSource":"aws:sns","Sns":{"Message":"fail"}}]}`,
	} {
		if _, err := (&lambdaworker.Handler{Worker: &recording{}}).Invoke(t.Context(), []byte(event)); err == nil {
			t.Errorf("%s is done", event)
		}
	}
}

func TestUnknownEventIsRefusedWithWhatIsExpected(t *testing.T) {
	for _, event := range []string{``, `{`, `null`, `[]`, `{}`, `{"Records":[]}`, `{"Records":[{"eventSource":"aws:s3"}]}`, `{"version":"2.0","rawPath":"/"}`} {
		r := &recording{}
		_, err := (&lambdaworker.Handler{Worker: r}).Invoke(t.Context(), []byte(event))
		if err == nil || !strings.Contains(err.Error(), "task_name") || len(r.got) != 0 {
			t.Errorf("%s: %v", event, err)
		}
	}
}

type stopping struct{ left time.Duration }

func (s *stopping) Process(ctx context.Context, _ worker.Delivery) worker.Outcome {
	deadline, _ := ctx.Deadline()
	s.left = time.Until(deadline)
	return worker.Outcome{Acknowledge: true}
}

func (s *stopping) DeadLetter(ctx context.Context, d worker.Delivery) worker.Outcome {
	return s.Process(ctx, d)
}

func TestWorkerStopsInTimeToReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for given, want := range map[time.Duration]time.Duration{time.Minute: 54 * time.Second, 4 * time.Second: 3 * time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), given)
			var s stopping
			if _, err := (&lambdaworker.Handler{Worker: &s}).Invoke(ctx, []byte(`{"task_name":"a"}`)); err != nil || s.left != want {
				t.Errorf("of %v the worker had %v, %v", given, s.left, err)
			}
			cancel()
		}
	})
}
