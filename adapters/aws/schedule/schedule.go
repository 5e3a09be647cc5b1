// Package schedule makes one-time schedules in Amazon EventBridge Scheduler. The
// AWS dispatchers use it for messages that are due later than their own target
// can delay them.
package schedule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/core/task"
)

// Route is the route of a message that goes by EventBridge Scheduler.
const Route = "scheduler"

// MaxBodyBytes is the largest message body that a schedule carries whatever
// characters it has. A schedule's input may have 256 KiB, and one character of
// the body takes up to seven bytes of it: "<" becomes \\u003c.
// https://docs.aws.amazon.com/scheduler/latest/UserGuide/scheduler-quotas.html
const MaxBodyBytes = 32 << 10

// lead is how far in the future a schedule is at least. AWS does not document
// what happens to a schedule for a time that has passed, so none is made: not
// even when the request is repeated and takes as long as it may.
const lead = awssdk.AnswerTime

// Options are the settings of the schedules.
type Options struct {
	RoleARN   string           // the role that the Scheduler assumes to send; required
	GroupName string           // "" = the account's default group
	DLQARN    string           // an SQS queue for what the Scheduler cannot deliver; "" = none
	Now       func() time.Time // nil = time.Now
}

// Scheduler makes and deletes schedules. The service fires within a minute after
// the time of a schedule, never before it. A nil *Scheduler stands for "not
// configured": it refuses every message.
// https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#one-time
type Scheduler struct {
	client  *scheduler.Client
	options Options
	role    arn.ARN // the targets are in its partition and account
}

// New returns a scheduler. Its targets are in the client's region.
func New(client *scheduler.Client, o Options) *Scheduler {
	if o.Now == nil {
		o.Now = time.Now
	}
	role, _ := arn.Parse(o.RoleARN) // the settings have checked it
	return &Scheduler{client: client, options: o, role: role}
}

// Limit returns the limits of a message that goes by the Scheduler to a target
// that has the limits l.
func Limit(l task.Limits) task.Limits {
	l.Route, l.SupportsDefer, l.SupportsCancel = Route, true, true
	l.MaxDelaySeconds = nil
	l.MaxMessageBytes = new(min(*l.MaxMessageBytes, MaxBodyBytes))
	return l
}

// Request schedules m as a request to an API operation, such as
// "sqs:sendMessage". Input is the request in JSON. A schedule that exists under
// the task's id was made for the same task, so that is a success. Errors are
// [*task.Error].
// https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html
func (s *Scheduler) Request(ctx context.Context, m task.Outgoing, operation string, input []byte) error {
	return s.create(ctx, m, arn.ARN{Service: "scheduler", Resource: "aws-sdk:" + operation}, input)
}

// Invoke schedules m as an event for the function that m.Queue names, as
// [Scheduler.Request] does.
func (s *Scheduler) Invoke(ctx context.Context, m task.Outgoing) error {
	if s == nil {
		return notConfigured()
	}
	return s.create(ctx, m, s.function(m.Queue), m.Body)
}

func (s *Scheduler) create(ctx context.Context, m task.Outgoing, target arn.ARN, input []byte) error {
	if s == nil {
		return notConfigured()
	}
	if len(m.Body) > MaxBodyBytes {
		return task.Errorf(task.MessageTooLarge, "the message has %d bytes, and EventBridge Scheduler takes %d", len(m.Body), MaxBodyBytes)
	}
	ctx, cancel := context.WithTimeout(ctx, awssdk.AnswerTime)
	defer cancel()
	_, err := s.client.CreateSchedule(ctx, s.input(m.ID, m.Due.Time, target, input))
	var exists *types.ConflictException
	if errors.As(err, &exists) {
		return nil
	}
	return s.translate(err, "create", m.ID)
}

// notConfigured is the error for a message that an earlier request sent by the
// Scheduler, when the settings no longer name a role.
func notConfigured() error {
	return task.Errorf(task.Unavailable, "the settings name no role for EventBridge Scheduler")
}

// input builds the SDK's input. The service's times are whole seconds, and a
// message must not come early. The task's id is the name and the client token,
// because both must be unique to the task.
// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html
func (s *Scheduler) input(id string, due time.Time, target arn.ARN, input []byte) *scheduler.CreateScheduleInput {
	if earliest := s.options.Now().Add(lead); due.Before(earliest) {
		due = earliest
	}
	at := due.UTC().Truncate(time.Second)
	if at.Before(due) {
		at = at.Add(time.Second)
	}
	if target.Partition == "" {
		target.Partition = s.role.Partition
	}
	in := &scheduler.CreateScheduleInput{
		Name:                       &id,
		ClientToken:                &id,
		GroupName:                  s.group(),
		ScheduleExpression:         aws.String(at.Format("at(2006-01-02T15:04:05)")),
		ScheduleExpressionTimezone: aws.String("UTC"),
		ActionAfterCompletion:      types.ActionAfterCompletionDelete,
		FlexibleTimeWindow:         &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff},
		Target: &types.Target{
			Arn:     aws.String(target.String()),
			RoleArn: &s.options.RoleARN,
			Input:   aws.String(string(EscapeKeywords(input))),
		},
	}
	if s.options.DLQARN != "" {
		in.Target.DeadLetterConfig = &types.DeadLetterConfig{Arn: &s.options.DLQARN}
	}
	return in
}

// EscapeKeywords writes "<" in the strings of a JSON text as \u003c, because the
// service replaces the keywords that begin with it.
// https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
func EscapeKeywords(text []byte) []byte {
	return bytes.ReplaceAll(text, []byte("<"), []byte(`\u003c`))
}

func (s *Scheduler) group() *string {
	if s.options.GroupName == "" {
		return nil
	}
	return &s.options.GroupName
}

// function returns the ARN of a function. Lambda's Invoke takes its name, a part
// of its ARN ("123456789012:function:name") or all of it.
// https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_RequestParameters
func (s *Scheduler) function(name string) arn.ARN {
	if a, err := arn.Parse(name); err == nil {
		return a
	}
	a := arn.ARN{
		Partition: s.role.Partition, Service: "lambda", Region: s.client.Options().Region, AccountID: s.role.AccountID, Resource: "function:" + name,
	}
	if account, function, ok := strings.Cut(name, ":function:"); ok {
		a.AccountID, a.Resource = account, "function:"+function
	}
	return a
}

// Cancel deletes the schedule of a message that went by one. It leaves every
// other message, and it is no error that the schedule has fired. It is the
// Cancel of a [task.Dispatcher].
func (s *Scheduler) Cancel(ctx context.Context, sent task.Sent) error {
	switch {
	case ctx.Err() != nil:
		return awssdk.Unavailable(ctx.Err(), "EventBridge Scheduler")
	case sent.Route != Route:
		return nil
	case s == nil:
		return notConfigured()
	}
	ctx, cancel := context.WithTimeout(ctx, awssdk.AnswerTime)
	defer cancel()
	_, err := s.client.DeleteSchedule(ctx, &scheduler.DeleteScheduleInput{Name: &sent.ID, GroupName: s.group()})
	var gone *types.ResourceNotFoundException
	if errors.As(err, &gone) {
		return nil
	}
	return s.translate(err, "delete", sent.ID)
}

// translate says what an error of the SDK means. Every schedule is built to be
// valid, so a refusal as invalid is about the role, the group or the dead-letter
// queue. An operator can correct those, so the task has not failed for good.
// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html#API_CreateSchedule_Errors
func (s *Scheduler) translate(err error, op, id string) error {
	if err == nil {
		return nil
	}
	e := awssdk.Unavailable(err, "EventBridge Scheduler")
	e.Err = fmt.Errorf("schedule: %s %s: %w", op, id, err)
	var missing *types.ResourceNotFoundException
	var invalid *types.ValidationException
	var full *types.ServiceQuotaExceededException
	switch {
	case errors.As(err, &missing):
		e.Msg = fmt.Sprintf("there is no schedule group %s", aws.ToString(s.group()))
	case errors.As(err, &invalid):
		e.Msg = "EventBridge Scheduler does not accept the schedule's role, group or target"
	case errors.As(err, &full):
		e.Msg = "EventBridge Scheduler holds as many schedules as it may"
	}
	return e
}
