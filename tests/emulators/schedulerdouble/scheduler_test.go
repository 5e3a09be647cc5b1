package schedulerdouble_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/smithy-go"

	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/schedulerdouble"
)

// start is when the doubles' clocks begin.
var start = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func newDouble(t *testing.T, targets schedulerdouble.Targets) (*schedulerdouble.Scheduler, *scheduler.Client) {
	t.Helper()
	t.Parallel()
	double := schedulerdouble.New(t, start, targets)
	return double, scheduler.NewFromConfig(awsemu.Config(double.URL()))
}

// request is a good request; change makes it another one.
func request(change func(*scheduler.CreateScheduleInput)) *scheduler.CreateScheduleInput {
	in := &scheduler.CreateScheduleInput{
		Name:                       aws.String("task-1"),
		ClientToken:                aws.String("token-1"),
		ScheduleExpression:         aws.String("at(2030-01-02T04:00:00)"),
		ScheduleExpressionTimezone: aws.String("UTC"),
		ActionAfterCompletion:      types.ActionAfterCompletionDelete,
		FlexibleTimeWindow:         &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeOff},
		Target: &types.Target{
			Arn:     aws.String(awsemu.ARN("sqs", "tasks")),
			RoleArn: aws.String("arn:aws:iam::000000000000:role/scheduler"),
			Input:   aws.String(`{"task_name":"a"}`),
		},
	}
	if change != nil {
		change(in)
	}
	return in
}

func code(err error) string {
	if api := smithy.APIError(nil); errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func TestWhatTheServiceRefusesIsRefused(t *testing.T) {
	_, client := newDouble(t, schedulerdouble.Targets{})
	for name, c := range map[string]struct {
		want   string
		change func(*scheduler.CreateScheduleInput)
	}{
		"a long name":  {"ValidationException", func(in *scheduler.CreateScheduleInput) { in.Name = aws.String(strings.Repeat("x", 65)) }},
		"a bad name":   {"ValidationException", func(in *scheduler.CreateScheduleInput) { in.Name = aws.String("a:b") }},
		"a long token": {"ValidationException", func(in *scheduler.CreateScheduleInput) { in.ClientToken = aws.String(strings.Repeat("x", 65)) }},
		"a zone suffix": {"ValidationException", func(in *scheduler.CreateScheduleInput) {
			in.ScheduleExpression = aws.String("at(2030-01-02T04:00:00Z)")
		}},
		"fractions": {"ValidationException", func(in *scheduler.CreateScheduleInput) {
			in.ScheduleExpression = aws.String("at(2030-01-02T04:00:00.5)")
		}},
		"no such day":   {"ValidationException", func(in *scheduler.CreateScheduleInput) { in.ScheduleExpression = aws.String("at(2030-02-30T04:00:00)") }},
		"no expression": {"ValidationException", func(in *scheduler.CreateScheduleInput) { in.ScheduleExpression = aws.String("at(garbage)") }},
		"the past":      {"ValidationException", func(in *scheduler.CreateScheduleInput) { in.ScheduleExpression = aws.String("at(2030-01-02T03:04:04)") }},
		"no such zone":  {"ValidationException", func(in *scheduler.CreateScheduleInput) { in.ScheduleExpressionTimezone = aws.String("Mars/Base") }},
		"a windowless flex": {"ValidationException", func(in *scheduler.CreateScheduleInput) {
			in.FlexibleTimeWindow.Mode = types.FlexibleTimeWindowModeFlexible
		}},
		"no such window":     {"ValidationException", func(in *scheduler.CreateScheduleInput) { in.FlexibleTimeWindow.Mode = "SOMETIMES" }},
		"a bad target":       {"ValidationException", func(in *scheduler.CreateScheduleInput) { in.Target.Arn = aws.String("tasks") }},
		"a bad role":         {"ValidationException", func(in *scheduler.CreateScheduleInput) { in.Target.RoleArn = aws.String("scheduler") }},
		"an empty role":      {"ValidationException", func(in *scheduler.CreateScheduleInput) { in.Target.RoleArn = aws.String("") }},
		"a large input":      {"ValidationException", func(in *scheduler.CreateScheduleInput) { in.Target.Input = aws.String(strings.Repeat("x", 256<<10+1)) }},
		"FIFO without group": {"ValidationException", func(in *scheduler.CreateScheduleInput) { in.Target.Arn = aws.String(awsemu.ARN("sqs", "tasks.fifo")) }},
		"text for Lambda": {"ValidationException", func(in *scheduler.CreateScheduleInput) {
			in.Target.Arn, in.Target.Input = aws.String(awsemu.ARN("lambda", "function:f")), aws.String("text")
		}},
		"an unknown action": {"ValidationException", func(in *scheduler.CreateScheduleInput) { in.ActionAfterCompletion = "KEEP" }},
		"a missing group":   {"ResourceNotFoundException", func(in *scheduler.CreateScheduleInput) { in.GroupName = aws.String("nowhere") }},
	} {
		if _, err := client.CreateSchedule(t.Context(), request(c.change)); code(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	for name, change := range map[string]func(*scheduler.CreateScheduleInput){
		"the longest name": func(in *scheduler.CreateScheduleInput) { in.Name = aws.String(strings.Repeat("-", 64)) },
		"the largest input": func(in *scheduler.CreateScheduleInput) {
			in.Name, in.Target.Input = aws.String("large"), aws.String(strings.Repeat("x", 256<<10))
		},
		"a flexible window": func(in *scheduler.CreateScheduleInput) {
			in.Name, in.FlexibleTimeWindow = aws.String("flex"), &types.FlexibleTimeWindow{Mode: types.FlexibleTimeWindowModeFlexible, MaximumWindowInMinutes: aws.Int32(1440)}
		},
		"a time of its zone": func(in *scheduler.CreateScheduleInput) {
			in.Name, in.ScheduleExpressionTimezone = aws.String("zone"), aws.String("America/New_York")
		},
	} {
		if _, err := client.CreateSchedule(t.Context(), request(change)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestATakenNameIsAConflictButARepeatIsNot(t *testing.T) {
	double, client := newDouble(t, schedulerdouble.Targets{})
	first, err := client.CreateSchedule(t.Context(), request(nil))
	if err != nil {
		t.Fatal(err)
	}
	again, err := client.CreateSchedule(t.Context(), request(nil))
	if err != nil || *again.ScheduleArn != *first.ScheduleArn {
		t.Errorf("the same request: %+v, %v", again, err)
	}
	for name, change := range map[string]func(*scheduler.CreateScheduleInput){
		"another token": func(in *scheduler.CreateScheduleInput) { in.ClientToken = aws.String("token-2") },
		"no token":      func(in *scheduler.CreateScheduleInput) { in.ClientToken = nil },
		"another input": func(in *scheduler.CreateScheduleInput) { in.Target.Input = aws.String("{}") },
	} {
		_, err := client.CreateSchedule(t.Context(), request(change))
		if conflict := (*types.ConflictException)(nil); !errors.As(err, &conflict) {
			t.Errorf("%s: %v, want ConflictException", name, err)
		}
	}
	double.AddGroup("other")
	if _, err := client.CreateSchedule(t.Context(), request(func(in *scheduler.CreateScheduleInput) { in.GroupName = aws.String("other") })); err != nil {
		t.Errorf("the same name in another group: %v", err)
	}
	if len(double.Schedules()) != 2 {
		t.Errorf("%d schedules, want 2", len(double.Schedules()))
	}
}

func TestASchedulesLifeIsVisibleAndEndsByDelete(t *testing.T) {
	_, client := newDouble(t, schedulerdouble.Targets{})
	ctx, name := context.Background(), aws.String("task-1")
	missing := func(err error) bool {
		gone := (*types.ResourceNotFoundException)(nil)
		return errors.As(err, &gone)
	}
	if _, err := client.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: name}); !missing(err) {
		t.Errorf("get before create: %v", err)
	}
	if _, err := client.CreateSchedule(ctx, request(nil)); err != nil {
		t.Fatal(err)
	}
	got, err := client.GetSchedule(ctx, &scheduler.GetScheduleInput{Name: name})
	if err != nil || *got.Target.Input != `{"task_name":"a"}` || *got.ScheduleExpression != "at(2030-01-02T04:00:00)" || *got.GroupName != "default" {
		t.Errorf("get: %+v, %v", got, err)
	}
	if _, err := client.DeleteSchedule(ctx, &scheduler.DeleteScheduleInput{Name: name}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.DeleteSchedule(ctx, &scheduler.DeleteScheduleInput{Name: name}); !missing(err) {
		t.Errorf("delete twice: %v", err)
	}
}
