package snsdispatch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/taskgate/taskgate/adapters/aws/internal/message"
	"github.com/taskgate/taskgate/core/task"
)

func TestMessage(t *testing.T) {
	sized := func(n int) task.Outgoing {
		return task.Outgoing{ID: "id-1", Queue: "t", Body: []byte(strings.Repeat("x", n))}
	}
	grouped := sized(1)
	grouped.Group = "g"
	wide := sized(1000)
	wide.Attributes = map[string]string{task.AttributeEnvelope: strings.Repeat("x", 2000)}
	topic := New(nil, Options{ARNPrefix: "arn:"})
	unnamed, later := sized(1), sized(1)
	unnamed.Attributes = map[string]string{task.AttributeTaskName: "a\ufffe"}
	later.Due = task.At(time.Now().Add(time.Hour))
	for name, c := range map[string]struct {
		m     task.Outgoing
		limit int64
		kind  task.Kind
	}{
		"at the limit":              {sized(MaxMessageBytes - message.AttributeRoom), MaxMessageBytes, ""},
		"above":                     {sized(MaxMessageBytes - message.AttributeRoom + 1), MaxMessageBytes, task.MessageTooLarge},
		"large, where permitted":    {sized(1<<20 - message.AttributeRoom), 1 << 20, ""},
		"with large attributes":     {wide, 3000, task.MessageTooLarge},
		"a group where are none":    {grouped, MaxMessageBytes, task.MessageRejected},
		"a name with U+FFFE":        {unnamed, MaxMessageBytes, task.MessageRejected},
		"a delay, directly":         {later, MaxMessageBytes, task.MessageRejected},
		"the smallest there may be": {sized(768), 1024, ""},
	} {
		if _, _, err := topic.build(c.m, c.limit); task.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %q", name, err, c.kind)
		}
	}
	m := sized(1)
	m.Body = []byte("[\"\ufffe\uffff\ufffd<\"]")
	m.Attributes = map[string]string{task.AttributeTaskName: "é <b>", task.AttributeEnvelope: "{\"k\":\"\uffff\"}"}
	in, _, err := topic.build(m, MaxMessageBytes)
	if err != nil || *in.Message != "[\"\\ufffe\\uffff\ufffd<\"]" || *in.TopicArn != "arn:t" || in.MessageGroupId != nil || in.MessageDeduplicationId != nil ||
		*in.MessageAttributes[task.AttributeTaskName].StringValue != "é <b>" || *in.MessageAttributes[task.AttributeEnvelope].StringValue != `{"k":"\uffff"}` {
		t.Errorf("%+v, %v", in, err)
	}
	m.Queue = "t.fifo"
	if in, _, err = topic.build(m, MaxMessageBytes); err != nil || *in.MessageGroupId != "id-1" || *in.MessageDeduplicationId != "id-1" {
		t.Errorf("%+v, %v", in, err)
	}
}

func TestCheckName(t *testing.T) {
	for name, valid := range map[string]bool{
		"tasks": true, "tasks.fifo": true, strings.Repeat("x", 256): true, "": false, "a/b": false, "a.b": false, strings.Repeat("x", 257): false,
		"arn:aws:sns:eu-west-1:123456789012:tasks": false,
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
	code := func(code string) error { return &smithy.GenericAPIError{Code: code, Message: "SECRET"} }
	for name, c := range map[string]struct {
		err   error
		kind  task.Kind
		after time.Duration
		says  string
	}{
		"none":             {nil, "", 0, ""},
		"missing":          {answer(404, &types.NotFoundException{}), task.Unavailable, 0, "there is no topic mail"},
		"throttled":        {answer(400, code("Throttling")), task.Unavailable, time.Second, "mail is busy"},
		"throttled, typed": {answer(429, &types.ThrottledException{}), task.Unavailable, time.Second, "mail is busy"},
		"denied":           {answer(403, &types.AuthorizationErrorException{}), task.Unavailable, 0, "does not let this service in"},
		"kms":              {answer(400, &types.KMSAccessDeniedException{}), task.Unavailable, 0, "does not let this service in"},
		"expired":          {answer(403, code("ExpiredToken")), task.Unavailable, 0, "does not let this service in"},
		"parameter":        {answer(400, &types.InvalidParameterException{}), task.MessageRejected, 0, "does not take this message"},
		"too long":         {answer(400, &types.BatchRequestTooLongException{}), task.MessageTooLarge, 0, "larger"},
		"internal":         {answer(500, &types.InternalErrorException{}), task.Unavailable, 0, "cannot serve"},
		"deadline":         {fmt.Errorf("SECRET: %w", context.DeadlineExceeded), task.Unavailable, 0, "in time"},
		"network":          {errors.New("SECRET"), task.Unavailable, 0, "cannot be reached"},
	} {
		err := translate(c.err, "mail")
		var e *task.Error
		errors.As(err, &e)
		if task.KindOf(err) != c.kind || e != nil && (e.RetryAfter != c.after || !strings.Contains(e.Msg, c.says) || strings.Contains(e.Msg, "SECRET") || !errors.Is(err, c.err)) {
			t.Errorf("%s: %#v", name, err)
		}
	}
}
