// Package lambdadispatch sends tasks to AWS Lambda functions, as asynchronous
// invocations.
package lambdadispatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/core/task"
)

// The ways that a message goes.
const (
	Route          = "lambda"
	RouteScheduler = "scheduler"
)

// MaxMessageBytes is the most that an asynchronous event may have: 1 MB.
// https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const MaxMessageBytes = 1 << 20

// MaxScheduledBytes is the most that a message by the Scheduler may have, so
// that it fits into a schedule whatever is in it: a character is 6 in its input
// at the worst (\u003c).
const MaxScheduledBytes = 32 << 10

// Scheduler invokes a function later, as adapters/aws/schedulerdispatch does.
// Errors are [*task.Error].
type Scheduler interface {
	// FunctionARN returns the ARN of a function by the name that Invoke takes.
	FunctionARN(name string) string
	// Schedule gives input to the function of that ARN at due or soon after. A
	// repeated id is accepted.
	Schedule(ctx context.Context, id string, due time.Time, arn string, input []byte) error
	// Cancel takes a schedule back, unless it is gone.
	Cancel(ctx context.Context, id string) error
}

// Options are what a backend says of its functions.
type Options struct {
	Scheduler Scheduler        // for delays, which Lambda has not; nil = they are refused
	Now       func() time.Time // nil = time.Now
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

// Limits implements [task.Dispatcher]. How often Lambda repeats a failed event
// is the function's own setting, and not known here.
func (f *Function) Limits(_ context.Context, _ string, delay time.Duration) task.Limits {
	l := task.Limits{
		Route:           Route,
		SupportsDefer:   f.options.Scheduler != nil,
		MaxMessageBytes: new(int64(MaxMessageBytes)),
	}
	if f.options.Scheduler != nil && delay > 0 {
		l.Route, l.SupportsCancel = RouteScheduler, true
		l.MaxMessageBytes = new(int64(MaxScheduledBytes))
	}
	return l
}

// Dispatch implements [task.Dispatcher]. Lambda has no duplicate detection: an
// id that comes again is another invocation. Attributes are left out: an event
// has none.
func (f *Function) Dispatch(ctx context.Context, m task.Outgoing) (task.Receipt, error) {
	later := m.Due.After(f.options.Now())
	in, err := event(m, later)
	if err != nil {
		return task.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, awssdk.AnswerTime)
	defer cancel()
	if later {
		return task.Receipt{}, f.schedule(ctx, m, in)
	}
	_, err = f.client.Invoke(ctx, in)
	return task.Receipt{}, translate(err, m.Queue)
}

// event builds the SDK's input.
// https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
func event(m task.Outgoing, later bool) (*lambda.InvokeInput, error) {
	most := MaxMessageBytes
	if later {
		most = MaxScheduledBytes
	}
	if len(m.Body) > most {
		return nil, task.Errorf(task.MessageTooLarge, "the message has %d bytes, and the function %s takes %d", len(m.Body), m.Queue, most)
	}
	if m.Group != "" {
		return nil, task.Errorf(task.MessageRejected, "functions have no groups")
	}
	return &lambda.InvokeInput{
		FunctionName: aws.String(m.Queue), InvocationType: types.InvocationTypeEvent, Payload: m.Body,
	}, nil
}

// schedule gives the event to the Scheduler, whose target the function itself
// is: there are no attributes to be lost. A schedule would be accepted for a
// function that is not there, and so it is asked for, by a call that needs no
// other permission and invokes nothing. What else that call says is no reason
// not to schedule.
func (f *Function) schedule(ctx context.Context, m task.Outgoing, in *lambda.InvokeInput) error {
	if f.options.Scheduler == nil {
		return task.Errorf(task.MessageRejected, "the function %s cannot be invoked later: there is no role for EventBridge Scheduler", m.Queue)
	}
	dry := *in
	dry.InvocationType, dry.Payload = types.InvocationTypeDryRun, nil
	if _, err := f.client.Invoke(ctx, &dry); missing(err) || ctx.Err() != nil {
		return translate(errors.Join(err, ctx.Err()), m.Queue)
	}
	input := bytes.ReplaceAll(m.Body, []byte("<"), []byte(`\u003c`)) // or keywords in it would be replaced
	return f.options.Scheduler.Schedule(ctx, m.ID, m.Due.Time, f.options.Scheduler.FunctionARN(m.Queue), input)
}

// Cancel implements [task.Dispatcher]. It takes back what is with the
// Scheduler; what Lambda has accepted stays.
func (f *Function) Cancel(ctx context.Context, s task.Sent) error {
	if s.Route != RouteScheduler || f.options.Scheduler == nil {
		return translate(ctx.Err(), s.Queue)
	}
	return f.options.Scheduler.Cancel(ctx, s.ID)
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
