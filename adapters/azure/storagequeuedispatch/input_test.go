package storagequeuedispatch

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/taskgate/taskgate/core/task"
)

func TestInput(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 500, time.UTC)
	body := func(n int) []byte { return []byte(strings.Repeat("x", n)) }
	for name, c := range map[string]struct {
		m       task.Outgoing
		seconds int32
		kind    task.Kind
	}{
		"at once":          {task.Outgoing{Body: body(2)}, 0, ""},
		"overdue":          {task.Outgoing{Body: body(2), Due: task.At(now.Add(-time.Hour))}, 0, ""},
		"due now":          {task.Outgoing{Body: body(2), Due: task.Time{Time: now}}, 0, ""},
		"a moment":         {task.Outgoing{Body: body(2), Due: task.Time{Time: now.Add(1)}}, 1, ""},
		"2 s":              {task.Outgoing{Body: body(2), Due: task.Time{Time: now.Add(2 * time.Second)}}, 2, ""},
		"2 s and a moment": {task.Outgoing{Body: body(2), Due: task.Time{Time: now.Add(2*time.Second + 1)}}, 3, ""},
		"7 days":           {task.Outgoing{Body: body(2), Due: task.Time{Time: now.Add(MaxDelay)}}, 604800, ""},
		"beyond 7 days":    {task.Outgoing{Body: body(2), Due: task.Time{Time: now.Add(MaxDelay + 1)}}, 0, task.MessageRejected},
		"48 KiB":           {task.Outgoing{Body: body(49152)}, 0, ""},
		"beyond 48 KiB":    {task.Outgoing{Body: body(49153)}, 0, task.MessageTooLarge},
		"a group":          {task.Outgoing{Body: body(2), Group: "g"}, 0, task.MessageRejected},
	} {
		text, o, err := input(c.m, now)
		if task.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %q", name, err, c.kind)
		}
		if err != nil {
			continue
		}
		if *o.VisibilityTimeout != c.seconds || *o.TimeToLive != -1 {
			t.Errorf("%s: hidden for %d s of %d, want %d of -1", name, *o.VisibilityTimeout, *o.TimeToLive, c.seconds)
		}
		if decoded, err := base64.StdEncoding.DecodeString(text); err != nil || string(decoded) != string(c.m.Body) || len(text) > 65536 {
			t.Errorf("%s: %d bytes of text: %v", name, len(text), err)
		}
	}
}

func TestTranslate(t *testing.T) {
	answer := func(status int, code string) error {
		return fmt.Errorf("SECRET: %w", &azcore.ResponseError{StatusCode: status, ErrorCode: code,
			RawResponse: &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {"3"}}}})
	}
	for name, c := range map[string]struct {
		err   error
		kind  task.Kind
		says  string
		after time.Duration
	}{
		"none":           {nil, "", "", 0},
		"no queue":       {answer(404, "QueueNotFound"), task.Unavailable, "mail", 3 * time.Second},
		"no such thing":  {answer(404, ""), task.Unavailable, "mail", 3 * time.Second},
		"being deleted":  {answer(409, "QueueBeingDeleted"), task.Unavailable, "mail", 3 * time.Second},
		"impossible":     {answer(400, "InvalidResourceName"), task.Unavailable, "mail", 3 * time.Second},
		"too large":      {answer(413, "RequestBodyTooLarge"), task.MessageTooLarge, "larger", 3 * time.Second},
		"too large, too": {answer(400, "MessageTooLarge"), task.MessageTooLarge, "larger", 3 * time.Second},
		"413":            {answer(413, ""), task.MessageTooLarge, "larger", 3 * time.Second},
		"401":            {answer(401, "InvalidAuthenticationInfo"), task.Unavailable, "let", 3 * time.Second},
		"403":            {answer(403, "AuthenticationFailed"), task.Unavailable, "let", 3 * time.Second},
		"busy":           {answer(503, "ServerBusy"), task.Unavailable, "busy", 3 * time.Second},
		"500":            {answer(500, "InternalError"), task.Unavailable, "500", 3 * time.Second},
		"deadline":       {context.DeadlineExceeded, task.Unavailable, "in time", 0},
		"cancelled":      {context.Canceled, task.Unavailable, "in time", 0},
		"network":        {errors.New("SECRET"), task.Unavailable, "reached", 0},
	} {
		err := translate(c.err, "mail")
		var e *task.Error
		if errors.As(err, &e); task.KindOf(err) != c.kind || e != nil && (!strings.Contains(e.Msg, c.says) || strings.Contains(e.Msg, "SECRET") || e.RetryAfter != c.after || !errors.Is(err, c.err)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGoneIsAMessageThatNeedNotBeDeleted(t *testing.T) {
	for code, status := range map[string]int{"MessageNotFound": 404, "PopReceiptMismatch": 400, "QueueNotFound": 404} {
		if !gone(&azcore.ResponseError{StatusCode: status, ErrorCode: code}) {
			t.Errorf("%s: the message is still there", code)
		}
	}
	for _, err := range []error{nil, context.Canceled, &azcore.ResponseError{StatusCode: 503, ErrorCode: "ServerBusy"}} {
		if gone(err) {
			t.Errorf("%v: the message is gone", err)
		}
	}
}
