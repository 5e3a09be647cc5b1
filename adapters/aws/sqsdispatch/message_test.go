package sqsdispatch

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/taskgate/taskgate/adapters/aws/internal/message"
	"github.com/taskgate/taskgate/adapters/aws/schedule"
	"github.com/taskgate/taskgate/core/task"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// golden compares what is sent with what is in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
	}
}

func outgoing(queue string) task.Outgoing {
	return task.Outgoing{
		ID: "01a20825-0000-7000-8000-000000000000", Queue: queue,
		Body: []byte("{\"task_name\":\"send\",\"args\":[\"<b>\",\"\ufffe\uffff\ufffd\"],\"kwargs\":{},\"n\":1.10}"),
		Attributes: map[string]string{
			task.AttributeTaskID: "01a20825-0000-7000-8000-000000000000", task.AttributeTaskName: "send <b>",
			task.AttributeEnvelope: "{\"k\":\"\uffff\"}",
		},
	}
}

// scheduled is the request that the Scheduler makes.
func scheduled(t *testing.T, m task.Outgoing, known queue) []byte {
	t.Helper()
	m.Route = schedule.Route
	made, err := message.New(m, "queue", groupMode(m.Queue), known.maxBytes())
	if err != nil {
		t.Fatal(err)
	}
	request, err := made.Request("QueueUrl", known.url, "MessageBody")
	if err != nil {
		t.Fatal(err)
	}
	return request
}

func TestRequestsAreBuiltAsGolden(t *testing.T) {
	standard, _, err := build(outgoing("tasks"), queue{url: "https://sqs/1/tasks"}, 1500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.MarshalIndent(standard, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "standard.json", data)

	fifo := outgoing("tasks.fifo")
	fifo.Group = "customer-1"
	ordered, _, err := build(fifo, queue{url: "https://sqs/1/tasks.fifo"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if data, err = json.MarshalIndent(ordered, "", " "); err != nil {
		t.Fatal(err)
	}
	golden(t, "fifo.json", data)

	for _, m := range []task.Outgoing{outgoing("tasks"), fifo} {
		later := scheduled(t, m, queue{url: "https://sqs/1/" + m.Queue})
		golden(t, "scheduled-"+m.Queue+".json", later)
	}
}

func TestDelaysAreRoundedUpAndBounded(t *testing.T) {
	for _, c := range []struct {
		queue   string
		delay   time.Duration
		seconds int32
		kind    task.Kind
	}{
		{"tasks", 0, 0, ""},
		{"tasks", 1, 1, ""},
		{"tasks", time.Second, 1, ""},
		{"tasks", time.Second + 1, 2, ""},
		{"tasks", 899*time.Second + 1, 900, ""},
		{"tasks", 900 * time.Second, 900, ""},
		{"tasks", 900*time.Second + 1, 0, task.MessageRejected},
		{"short-lived", 59 * time.Second, 59, ""},
		{"short-lived", 59*time.Second + 1, 0, task.MessageRejected},
		{"tasks.fifo", 0, 0, ""},
		{"tasks.fifo", 1, 0, task.MessageRejected},
	} {
		known := queue{}
		if c.queue == "short-lived" {
			known.retention = 60
		}
		in, _, err := build(outgoing(c.queue), known, c.delay)
		if task.KindOf(err) != c.kind || err == nil && in.DelaySeconds != c.seconds {
			t.Errorf("%s after %v: %+v, %v", c.queue, c.delay, in, err)
		}
	}
}

func TestMessageBeyondTheLimitsIsRefused(t *testing.T) {
	sized := func(n int) task.Outgoing {
		m := outgoing("tasks")
		m.Body = []byte(strings.Repeat("x", n))
		return m
	}
	spaced, foreign := sized(1), sized(1)
	spaced.Group, foreign.Group = "customer 17", "größe"
	spaced.Queue = "tasks.fifo"
	unnamed := sized(1)
	unnamed.Attributes[task.AttributeTaskName] = "a\uffff"
	wide := sized(1000)
	wide.Attributes[task.AttributeEnvelope] = strings.Repeat("x", 2000)
	for name, c := range map[string]struct {
		m     task.Outgoing
		known queue
		kind  task.Kind
	}{
		"at the limit":              {sized(1<<20 - message.AttributeRoom), queue{}, ""},
		"above":                     {sized(1<<20 - message.AttributeRoom + 1), queue{}, task.MessageTooLarge},
		"at the queue's own":        {sized(10000 - message.AttributeRoom), queue{maxMessage: 10000}, ""},
		"above the queue's own":     {sized(10000 - message.AttributeRoom + 1), queue{maxMessage: 10000}, task.MessageTooLarge},
		"with large attributes":     {wide, queue{maxMessage: 3000}, task.MessageTooLarge},
		"a group with a space":      {spaced, queue{}, task.MessageRejected},
		"a group that is not ASCII": {foreign, queue{}, task.MessageRejected},
		"a name with U+FFFF":        {unnamed, queue{}, task.MessageRejected},
		"the smallest queue's part": {sized(768), queue{maxMessage: 1024}, ""},
	} {
		if _, _, err := build(c.m, c.known, 0); task.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %q", name, err, c.kind)
		}
	}
}

// TestLargestScheduledMessageFitsWhateverItsCharacters: the limit is of the body, and the
// Scheduler's is of what the body becomes.
func TestLargestScheduledMessageFitsWhateverItsCharacters(t *testing.T) {
	for _, worst := range []string{"<", `\"`, "\ufffe", "é"} {
		m := outgoing("tasks")
		m.Body = []byte(strings.Repeat(worst, schedule.MaxBodyBytes/len(worst)))
		m.Attributes[task.AttributeTaskName] = strings.Repeat("<", 255)
		if in := scheduled(t, m, queue{url: strings.Repeat("u", 200)}); len(in)+5*255 > 256<<10 {
			t.Errorf("%q: %d bytes", worst, len(in))
		}
	}
}

func TestRouteAndLimitsOfDelay(t *testing.T) {
	for _, c := range []struct {
		queue            string
		role, always     bool
		delay            time.Duration
		route            string
		defers, cancels  bool
		maxDelay, maxMsg int64 // 0 = none
	}{
		{"q", false, false, 0, "sqs", true, false, 900, MaxMessageBytes - message.AttributeRoom},
		{"q", false, false, time.Hour, "sqs", true, false, 900, MaxMessageBytes - message.AttributeRoom},
		{"q", true, false, 900 * time.Second, "sqs", true, false, 0, MaxMessageBytes - message.AttributeRoom},
		{"q", true, false, 900*time.Second + 1, "scheduler", true, true, 0, schedule.MaxBodyBytes},
		{"q", true, true, 1, "scheduler", true, true, 0, schedule.MaxBodyBytes},
		{"q", true, true, 0, "sqs", true, false, 0, MaxMessageBytes - message.AttributeRoom},
		{"q.fifo", false, false, 1, "sqs", false, false, 0, MaxMessageBytes - message.AttributeRoom},
		{"q.fifo", true, false, time.Hour, "sqs", false, false, 0, MaxMessageBytes - message.AttributeRoom},
		{"q.fifo", true, true, 1, "scheduler", true, true, 0, schedule.MaxBodyBytes},
	} {
		o := Options{ScheduleAlways: c.always}
		if c.role {
			o.Scheduler = &schedule.Scheduler{}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel() // nothing is looked up
		l := New(nil, o).Limits(ended, c.queue, c.delay)
		if l.Route != c.route || l.SupportsDefer != c.defers || l.SupportsCancel != c.cancels || aws.ToInt64(l.MaxDelaySeconds) != c.maxDelay ||
			*l.MaxMessageBytes != c.maxMsg || l.GroupMode != groupMode(c.queue) || l.CheckGroup("a b") == "" || l.CheckTaskName("\ufffe") == "" || l.FanOut || l.MaxDeliveries != nil {
			t.Errorf("%+v: %+v", c, l)
		}
	}
}

// TestGroupOnStandardQueueIsItsFairQueueKey: standard queues keep no order.
func TestGroupOnStandardQueueIsItsFairQueueKey(t *testing.T) {
	m := outgoing("tasks")
	m.Group = "customer-1"
	in, _, err := build(m, queue{}, 0)
	if err != nil || aws.ToString(in.MessageGroupId) != "customer-1" || in.MessageDeduplicationId != nil {
		t.Errorf("%+v, %v", in, err)
	}
	if request := scheduled(t, m, queue{}); !strings.Contains(string(request), `"MessageGroupId":"customer-1"`) {
		t.Errorf("scheduled: %s", request)
	}
	m.Group = ""
	if in, _, err = build(m, queue{}, 0); err != nil || in.MessageGroupId != nil {
		t.Errorf("without a group: %+v, %v", in, err)
	}
}

// TestRetentionBoundsTheDelay: SQS deletes a message whose delay is as long as its
// retention before anybody can receive it.
func TestRetentionBoundsTheDelay(t *testing.T) {
	for _, c := range []struct {
		retention, want int64
	}{{0, 900}, {60, 59}, {900, 899}, {901, 900}, {345600, 900}} {
		if got := (queue{retention: c.retention}).maxDelay("tasks"); got != time.Duration(c.want)*time.Second {
			t.Errorf("a retention of %d s: %v, want %d s", c.retention, got, c.want)
		}
	}
}

func TestCheckName(t *testing.T) {
	for name, valid := range map[string]bool{
		"tasks": true, "tasks.fifo": true, "a-B_9": true, strings.Repeat("x", 80): true, strings.Repeat("x", 75) + ".fifo": true,
		"": false, ".fifo": false, "a/b": false, "a.b": false, "a b": false, "größe": false, strings.Repeat("x", 81): false,
		strings.Repeat("x", 76) + ".fifo": false, "https://sqs.eu-west-1.amazonaws.com/123456789012/tasks": false,
		"arn:aws:sqs:eu-west-1:123456789012:tasks": false,
	} {
		if rule := CheckName(name); (rule == "") != valid {
			t.Errorf("%q: %q", name, rule)
		}
	}
}

func TestMaxReceiveCount(t *testing.T) {
	for policy, want := range map[string]int64{
		"": 0, "{}": 0, "nonsense": 0, `{"maxReceiveCount":5}`: 5, `{"deadLetterTargetArn":"arn","maxReceiveCount":"7"}`: 7, `{"maxReceiveCount":-1}`: 0,
	} {
		if got := maxReceiveCount(policy); got != want {
			t.Errorf("%s: %d, want %d", policy, got, want)
		}
	}
}

func TestTranslate(t *testing.T) {
	answer := func(status int, err error) error {
		return fmt.Errorf("SECRET: %w", &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err,
		})
	}
	code := func(code string) error { return &smithy.GenericAPIError{Code: code, Message: "SECRET"} }
	for name, c := range map[string]struct {
		err   error
		kind  task.Kind
		after time.Duration
		says  string
	}{
		"none":         {nil, "", 0, ""},
		"missing":      {answer(400, &types.QueueDoesNotExist{}), task.Unavailable, 0, "there is no queue mail"},
		"missing, old": {answer(400, code("AWS.SimpleQueueService.NonExistentQueue")), task.Unavailable, 0, "there is no queue mail"},
		"throttled":    {answer(400, code("RequestThrottled")), task.Unavailable, time.Second, "mail is busy"},
		"kms":          {answer(400, &types.KmsThrottled{}), task.Unavailable, time.Second, "mail is busy"},
		"unavailable":  {answer(503, code("ServiceUnavailable")), task.Unavailable, 0, "cannot serve"},
		"html":         {answer(502, errors.New("SECRET")), task.Unavailable, 0, "cannot serve"},
		"denied":       {answer(403, code("AccessDeniedException")), task.Unavailable, 0, "does not let this service in"},
		"expired":      {answer(403, code("ExpiredTokenException")), task.Unavailable, 0, "does not let this service in"},
		"characters":   {answer(400, &types.InvalidMessageContents{}), task.MessageRejected, 0, "does not take this message"},
		"parameter":    {answer(400, code("AWS.SimpleQueueService.InvalidParameterValue")), task.MessageRejected, 0, "does not take this message"},
		"too long":     {answer(400, &types.BatchRequestTooLong{}), task.MessageTooLarge, 0, "larger"},
		"truncated":    {answer(200, errors.New("SECRET")), task.Unavailable, 0, "cannot be read"},
		"other":        {answer(400, code("Other")), task.Unavailable, 0, "for now"},
		"deadline":     {fmt.Errorf("SECRET: %w", context.DeadlineExceeded), task.Unavailable, 0, "in time"},
		"network":      {errors.New("SECRET"), task.Unavailable, 0, "cannot be reached"},
	} {
		err := translate(c.err, "mail")
		var e *task.Error
		errors.As(err, &e)
		if task.KindOf(err) != c.kind || e != nil && (e.RetryAfter != c.after || !strings.Contains(e.Msg, c.says) || strings.Contains(e.Msg, "SECRET") || !errors.Is(err, c.err)) {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

func TestFailedEntryIsFinalOnlyIfTheMessageIsAtFault(t *testing.T) {
	for code, want := range map[string]task.Kind{
		"InvalidMessageContents": task.MessageRejected, "AWS.SimpleQueueService.InvalidParameterValue": task.MessageRejected,
		"AccessDenied": task.Unavailable, "InternalError": task.Unavailable, "RequestThrottled": task.Unavailable,
	} {
		err := failedEntry(types.BatchResultErrorEntry{Code: &code, Message: aws.String("SECRET"), SenderFault: true}, "mail")
		var e *task.Error
		if errors.As(err, &e); e == nil || e.Kind != want || strings.Contains(e.Msg, "SECRET") {
			t.Errorf("%s: %#v", code, err)
		}
	}
}
