// Package lambdadispatch sends tasks to AWS Lambda functions, as asynchronous
// invocations.
package lambdadispatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/internal/message"
	"github.com/taskgate/taskgate/adapters/aws/schedule"
	"github.com/taskgate/taskgate/core/task"
)

// Route is the route of a message that invokes its function directly.
const Route = "lambda"

// MaxMessageBytes is the most that an asynchronous event may have: 1 MB.
// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const MaxMessageBytes = 1 << 20

// Options are the settings of a backend.
type Options struct {
	Scheduler *schedule.Scheduler // for delays, which Lambda does not have; nil = they are refused
	Now       func() time.Time    // nil = time.Now
}

// Function sends to functions, by their names or ARNs. It is a [task.Dispatcher].
type Function struct {
	client  *lambda.Client
	options Options
}

// New returns a dispatcher. The client should be bounded: see awssdk.Bound.
func New(client *lambda.Client, o Options) *Function {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Function{client: client, options: o}
}

// CheckName returns the rule that a function's name breaks, or "". Like Invoke it
// takes the name, a part of the ARN or all of it, each with a version or an alias.
// https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_RequestParameters
func CheckName(name string) string {
	if len(name) > 170 || !validName(name) {
		return "must be a Lambda function's name (1 to 64 letters, digits, - and _) or ARN, perhaps with a version or an alias"
	}
	return ""
}

// validName takes off what may stand around the name in its longest form,
// arn:aws:lambda:region:account:function:name:version.
func validName(name string) bool {
	parts := strings.Split(name, ":")
	if len(parts) > 2 {
		i := slices.Index(parts, "function")
		a, err := arn.Parse(name)
		if err == nil && (i != 5 || a.Service != "lambda" || a.Region == "") || err != nil && i != 1 {
			return false
		}
		if account := parts[i-1]; len(account) != 12 || strings.Trim(account, "0123456789") != "" {
			return false
		}
		parts = parts[i+1:]
	}
	if len(parts) == 2 && (parts[1] == "$LATEST" || message.IsName(parts[1], 128)) {
		parts = parts[:1]
	}
	return len(parts) == 1 && message.IsName(parts[0], 64)
}

// Limits implements [task.Dispatcher]. It chooses the route: every delay goes by
// the Scheduler. How often Lambda repeats a failed event is a setting of the
// function, and not known here.
func (f *Function) Limits(_ context.Context, _ string, delay time.Duration) task.Limits {
	l := task.Limits{
		Route:           Route,
		SupportsDefer:   f.options.Scheduler != nil,
		MaxMessageBytes: new(int64(MaxMessageBytes)),
	}
	if l.SupportsDefer && delay > 0 {
		return schedule.Limit(l)
	}
	return l
}

// Dispatch implements [task.Dispatcher]. Lambda does not detect duplicates: an id
// that comes again is another invocation. Attributes are left out, because an
// event has none.
func (f *Function) Dispatch(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
	in, err := f.event(m)
	if err != nil {
		return task.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, awssdk.AnswerTime)
	defer cancel()
	if m.Route == schedule.Route {
		return task.Receipt{}, f.schedule(ctx, m)
	}
	_, err = f.client.Invoke(ctx, in)
	return task.Receipt{}, translate(err, m.Queue)
}

// event makes the SDK's input.
// https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
func (f *Function) event(m task.Outgoing) (*lambda.InvokeInput, error) {
	switch {
	case len(m.Body) > MaxMessageBytes:
		return nil, task.Errorf(task.MessageTooLarge, "the message has %d bytes, and the function %s takes %d", len(m.Body), m.Queue, MaxMessageBytes)
	case m.Group != "":
		return nil, task.Errorf(task.MessageRejected, "functions have no groups")
	case m.Route != schedule.Route && m.Due.After(f.options.Now()):
		return nil, task.Errorf(task.MessageRejected, "the function %s cannot be invoked later: there is no role for EventBridge Scheduler", m.Queue)
	}
	return &lambda.InvokeInput{
		FunctionName: aws.String(m.Queue), InvocationType: types.InvocationTypeEvent, Payload: m.Body,
	}, nil
}

// schedule gives the event to the Scheduler. AWS accepts a schedule for a function
// that does not exist, so a dry run asks for it first: that needs no further
// permission and invokes nothing. Whatever else the dry run answers is no reason
// not to schedule.
func (f *Function) schedule(ctx context.Context, m task.Outgoing) error {
	_, err := f.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(m.Queue), InvocationType: types.InvocationTypeDryRun})
	if missing(err) || ctx.Err() != nil {
		return translate(errors.Join(err, ctx.Err()), m.Queue)
	}
	return f.options.Scheduler.Invoke(ctx, m)
}

// Cancel implements [task.Dispatcher]. What Lambda has accepted stays so.
func (f *Function) Cancel(ctx context.Context, s task.Sent) error {
	return f.options.Scheduler.Cancel(ctx, s)
}

func missing(err error) bool {
	var notFound *types.ResourceNotFoundException
	return errors.As(err, &notFound)
}

// translate says what an error of the SDK means for a message to that function.
// https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors
func translate(err error, name string) error {
	if err == nil {
		return nil
	}
	e := awssdk.Unavailable(err, "the function "+name)
	e.Err = fmt.Errorf("lambdadispatch: %s: %w", name, err)
	var tooLarge *types.RequestTooLargeException
	var content *types.InvalidRequestContentException
	var busy *types.TooManyRequestsException
	switch {
	case missing(err):
		e.Msg = fmt.Sprintf("there is no function %s", name)
	case errors.As(err, &tooLarge):
		e.Kind, e.Msg = task.MessageTooLarge, "the message is larger than Lambda takes"
	case errors.As(err, &content):
		e.Kind, e.Msg = task.MessageRejected, "Lambda does not take this message as JSON"
	case errors.As(err, &busy):
		if seconds, err := strconv.Atoi(aws.ToString(busy.RetryAfterSeconds)); err == nil && seconds > 0 {
			e.RetryAfter = time.Duration(seconds) * time.Second
		}
	}
	return e
}
