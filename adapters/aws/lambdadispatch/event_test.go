package lambdadispatch

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/taskgate/taskgate/adapters/aws/schedule"
	"github.com/taskgate/taskgate/core/task"
)

func TestEvent(t *testing.T) {
	body := func(n int) []byte { return []byte(strings.Repeat("x", n)) }
	for name, c := range map[string]struct {
		m    task.Outgoing
		due  time.Duration // 0 = at once
		kind task.Kind
	}{
		"small":           {task.Outgoing{Body: body(2)}, 0, ""},
		"at the limit":    {task.Outgoing{Body: body(MaxMessageBytes)}, 0, ""},
		"above":           {task.Outgoing{Body: body(MaxMessageBytes + 1)}, 0, task.MessageTooLarge},
		"overdue":         {task.Outgoing{Body: body(2)}, -time.Hour, ""},
		"later, directly": {task.Outgoing{Body: body(2)}, time.Hour, task.MessageRejected},
		"later":           {task.Outgoing{Body: body(2), Route: schedule.Route}, time.Hour, ""},
		"a group":         {task.Outgoing{Body: body(2), Group: "g"}, 0, task.MessageRejected},
	} {
		c.m.Queue = "worker"
		if c.due != 0 {
			c.m.Due = task.At(time.Now().Add(c.due))
		}
		in, err := New(nil, Options{}).event(c.m)
		if task.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %q", name, err, c.kind)
		}
		if err == nil && (*in.FunctionName != "worker" || in.InvocationType != types.InvocationTypeEvent || string(in.Payload) != string(c.m.Body)) {
			t.Errorf("%s: %+v", name, in)
		}
	}
}

func TestDelayWithoutRoleIsRefused(t *testing.T) {
	f := New(nil, Options{})
	if l := f.Limits(t.Context(), "worker", time.Hour); l.SupportsDefer || l.SupportsCancel || l.Route != Route || l.MaxDeliveries != nil {
		t.Errorf("limits %+v", l)
	}
	_, err := f.Dispatch(t.Context(), task.Outgoing{Queue: "worker", Due: task.At(time.Now().Add(time.Hour))})
	if task.KindOf(err) != task.MessageRejected {
		t.Error(err)
	}
}

func TestCheckName(t *testing.T) {
	const account = "123456789012"
	for name, valid := range map[string]bool{
		"worker": true, "worker:live": true, "worker:7": true, "worker:$LATEST": true, "function": true, "function:1": true, strings.Repeat("x", 64): true,
		account + ":function:worker": true, account + ":function:worker:live": true,
		"arn:aws:lambda:eu-west-1:" + account + ":function:worker": true, "arn:aws-cn:lambda:cn-north-1:" + account + ":function:worker:live": true,
		"": false, "a/b": false, "a b": false, "worker:": false, ":live": false, "a:b:c": false, strings.Repeat("x", 65): false, "worker.fifo": false,
		"arn:aws:sqs:eu-west-1:" + account + ":worker": false, "arn:aws:lambda:eu-west-1:" + account + ":layer:worker": false,
		"arn:aws:lambda:eu-west-1:1:function:worker": false, "arn:aws:sns:eu-west-1:" + account + ":function:worker": false,
		"arn:aws:lambda::" + account + ":function:worker": false, "1:function:worker": false, account + ":function:": false,
	} {
		if rule := CheckName(name); (rule == "") != valid {
			t.Errorf("%q: %q", name, rule)
		}
	}
}

func TestTranslate(t *testing.T) {
	answer := func(status int, err error) error {
		return fmt.Errorf("SECRET: %w", &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err,
		})
	}
	for name, c := range map[string]struct {
		err   error
		kind  task.Kind
		after time.Duration
		says  string
	}{
		"none":       {nil, "", 0, ""},
		"missing":    {answer(404, &types.ResourceNotFoundException{}), task.Unavailable, 0, "there is no function worker"},
		"busy":       {answer(429, &types.TooManyRequestsException{}), task.Unavailable, time.Second, "busy"},
		"busy until": {answer(429, &types.TooManyRequestsException{RetryAfterSeconds: aws.String("7")}), task.Unavailable, 7 * time.Second, "busy"},
		"too large":  {answer(413, &types.RequestTooLargeException{}), task.MessageTooLarge, 0, "larger"},
		"no JSON":    {answer(400, &types.InvalidRequestContentException{}), task.MessageRejected, 0, "as JSON"},
		"denied":     {answer(403, &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "SECRET"}), task.Unavailable, 0, "does not let"},
		"not ready":  {answer(502, &types.ENILimitReachedException{}), task.Unavailable, 0, "cannot serve"},
		"network":    {errors.New("SECRET"), task.Unavailable, 0, "cannot be reached"},
	} {
		err := translate(c.err, "worker")
		var e *task.Error
		errors.As(err, &e)
		if task.KindOf(err) != c.kind || e != nil && (e.RetryAfter != c.after || !strings.Contains(e.Msg, c.says) || strings.Contains(e.Msg, "SECRET") || !errors.Is(err, c.err)) {
			t.Errorf("%s: %#v", name, err)
		}
	}
}
