// Package schedulerdispatch sends what is due later: it makes one-time schedules
// in EventBridge Scheduler, for whichever AWS target a dispatcher has.
package schedulerdispatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/core/task"
)

// MaxInputBytes is the most that a schedule's input may have.
// https://docs.aws.amazon.com/scheduler/latest/UserGuide/scheduler-quotas.html
const MaxInputBytes = 256 << 10

// Options are how schedules are made.
type Options struct {
	RoleARN   string // the role that the Scheduler assumes to send; required
	GroupName string // "" = the account's default group
	DLQARN    string // an SQS queue for what the Scheduler cannot deliver; "" = none
}

// Scheduler makes schedules and takes them back. The service fires within a
// minute after the time that it is given, and never before.
// https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#one-time
type Scheduler struct {
	client  *scheduler.Client
	options Options
	region  string
}

// New returns a scheduler. Its targets are in the client's region, and the
// role's partition and account.
func New(client *scheduler.Client, o Options) *Scheduler {
	return &Scheduler{client: client, options: o, region: client.Options().Region}
}

// Schedule makes the schedule of a task, which fires at due or soon after: it
// gives input to target, a function's ARN, or makes it the request of target, an
// operation as "sqs:sendMessage". A schedule of the task that is there already
// is our own, and this one is accepted as it.
func (s *Scheduler) Schedule(ctx context.Context, id string, due time.Time, target string, input []byte) error {
	if len(input) > MaxInputBytes {
		return task.Errorf(task.MessageTooLarge, "the scheduled message has %d bytes, and EventBridge Scheduler takes %d", len(input), MaxInputBytes)
	}
	ctx, cancel := context.WithTimeout(ctx, awssdk.AnswerTime)
	defer cancel()
	_, err := s.client.CreateSchedule(ctx, s.schedule(id, due, target, input))
	var there *types.ConflictException
	if errors.As(err, &there) {
		return nil
	}
	return s.translate(err, "create", id)
}

// schedule builds the SDK's input. The service's times are whole seconds, and a
// message must not come early. The name is the task's id, and so is the client
// token: both are of one task only.
// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html
func (s *Scheduler) schedule(id string, due time.Time, target string, input []byte) *scheduler.CreateScheduleInput {
	at := due.UTC().Truncate(time.Second)
	if at.Before(due) {
		at = at.Add(time.Second)
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
			Arn:     aws.String(s.target(target)),
			RoleArn: &s.options.RoleARN,
			Input:   aws.String(string(EscapeKeywords(input))),
		},
	}
	if s.options.DLQARN != "" {
		in.Target.DeadLetterConfig = &types.DeadLetterConfig{Arn: &s.options.DLQARN}
	}
	return in
}

// EscapeKeywords writes < in the strings of a JSON text as \u003c: the service
// replaces keywords that begin with it, wherever they stand.
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

// target returns the ARN of a target; an operation is a universal one.
// https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html
func (s *Scheduler) target(target string) string {
	if strings.HasPrefix(target, "arn:") {
		return target
	}
	return "arn:" + s.role(1) + ":scheduler:::aws-sdk:" + target
}

// FunctionARN returns the ARN of the function that Lambda's Invoke takes under
// this name, which may be an ARN itself, whole or in part.
// https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_RequestParameters
func (s *Scheduler) FunctionARN(name string) string {
	if strings.HasPrefix(name, "arn:") {
		return name
	}
	account := s.role(4)
	if before, after, partial := strings.Cut(name, ":function:"); partial {
		account, name = before, after
	}
	return "arn:" + s.role(1) + ":lambda:" + s.region + ":" + account + ":function:" + name
}

// role returns a part of the role's ARN: 1 = the partition, 4 = the account.
func (s *Scheduler) role(part int) string {
	parts := strings.Split(s.options.RoleARN, ":")
	if part >= len(parts) {
		return ""
	}
	return parts[part]
}

// Cancel deletes a task's schedule. One that has fired is gone, and that is no
// error.
func (s *Scheduler) Cancel(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, awssdk.AnswerTime)
	defer cancel()
	_, err := s.client.DeleteSchedule(ctx, &scheduler.DeleteScheduleInput{Name: &id, GroupName: s.group()})
	var gone *types.ResourceNotFoundException
	if errors.As(err, &gone) {
		return nil
	}
	return s.translate(err, "delete", id)
}

// translate says what an error of the SDK means. A schedule is valid by the way
// it is built, so that one which is refused as invalid is refused for its role,
// its group or its queue for dead letters: that can be put right, and is not the
// message's end.
// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html#API_CreateSchedule_Errors
func (s *Scheduler) translate(err error, op, id string) error {
	if err == nil {
		return nil
	}
	e := awssdk.Unavailable(err, "EventBridge Scheduler")
	e.Err = fmt.Errorf("schedulerdispatch: %s %s: %w", op, id, err)
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
