package schedule

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
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
	"github.com/taskgate/taskgate/tests/emulators/schedulerdouble"
	"github.com/taskgate/taskgate/tests/faults"
)

var update = flag.Bool("update", false, "rewrite the goldens")

const (
	role = "arn:aws:iam::123456789012:role/scheduler"
	id   = "01a20825-0000-7000-8000-000000000000"
)

var universal = arn.ARN{Service: "scheduler", Resource: "aws-sdk:sqs:sendMessage"}

var epoch = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// now is the tests' clock: an hour before the epoch.
func now() time.Time { return epoch.Add(-time.Hour) }

func client(url string) *scheduler.Client {
	cfg := awsemu.Config(url)
	awssdk.Bound(&cfg)
	return scheduler.NewFromConfig(cfg)
}

// request schedules a message with that body.
func request(ctx context.Context, s *Scheduler, id string, due time.Time, body string) error {
	return s.Request(ctx, task.Outgoing{ID: id, Body: []byte(body), Due: task.At(due)}, "sqs:sendMessage", []byte(body))
}

// sentOf names a message that went by a schedule.
func sentOf(id string) task.Sent { return task.Sent{ID: id, Route: Route} }

func TestScheduleIsBuiltAsGolden(t *testing.T) {
	s := New(client("http://127.0.0.1:1"), Options{Now: now, RoleARN: role, GroupName: "tasks", DLQARN: "arn:aws:sqs:us-east-1:123456789012:dead"})
	due := time.Date(2026, 11, 23, 11, 0, 0, 1, time.FixedZone("", 3600))
	data, err := json.MarshalIndent(s.input(id, due, universal, []byte(`{"MessageBody":"<aws.scheduler.execution-id>"}`)), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/schedule.json", data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/schedule.json")
	if err != nil || string(data) != string(want) {
		t.Errorf("got  %s\nwant %s (%v)", data, want, err)
	}
}

func TestTimesAreRoundedUpToSeconds(t *testing.T) {
	s := New(client("http://127.0.0.1:1"), Options{Now: now, RoleARN: role})
	for add, want := range map[time.Duration]string{
		0: "at(2026-11-23T09:00:00)", 1: "at(2026-11-23T09:00:01)", time.Second: "at(2026-11-23T09:00:01)", time.Second + time.Microsecond: "at(2026-11-23T09:00:02)",
	} {
		in := s.input(id, epoch.Add(add), universal, nil)
		if *in.ScheduleExpression != want || *in.ScheduleExpressionTimezone != "UTC" || in.GroupName != nil || in.Target.DeadLetterConfig != nil {
			t.Errorf("%v: %s", add, *in.ScheduleExpression)
		}
	}
}

// TestOverdueScheduleIsMadeForTheNearFuture: what AWS does with a time in the past
// is not documented, and the double refuses it.
func TestOverdueScheduleIsMadeForTheNearFuture(t *testing.T) {
	double := schedulerdouble.New(t, now(), schedulerdouble.Targets{})
	s := New(client(double.URL()), Options{Now: now, RoleARN: role})
	for _, due := range []time.Time{{}, now().AddDate(-1, 0, 0), now(), now().Add(time.Second)} {
		other := task.NewID()
		if err := request(t.Context(), s, other, due, "{}"); err != nil {
			t.Errorf("due at %v: %v", due, err)
		}
	}
	for _, made := range double.Schedules() {
		if ahead := made.Due().Sub(now()); ahead < lead || ahead > lead+time.Second {
			t.Errorf("the schedule is for %v ahead, want %v", ahead, lead)
		}
	}
}

// TestMissingRoleIsUnavailable: a repeated request may name the Scheduler although
// the settings have no role any more.
func TestMissingRoleIsUnavailable(t *testing.T) {
	var s *Scheduler
	for what, err := range map[string]error{
		"request": request(t.Context(), s, id, epoch, "{}"),
		"event":   s.Invoke(t.Context(), task.Outgoing{Queue: "arn:aws:lambda:eu-west-1:123456789012:function:w"}),
		"cancel":  s.Cancel(t.Context(), sentOf(id)),
	} {
		if task.KindOf(err) != task.Unavailable {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := s.Cancel(t.Context(), task.Sent{ID: id, Route: "sqs"}); err != nil {
		t.Errorf("a message that went another way: %v", err)
	}
}

func TestTargetsAreInThePartitionAndAccountOfTheRole(t *testing.T) {
	s := New(client("http://127.0.0.1:1"), Options{Now: now, RoleARN: "arn:aws-cn:iam::123456789012:role/path/scheduler"})
	if got := *s.input(id, epoch, universal, nil).Target.Arn; got != "arn:aws-cn:scheduler:::aws-sdk:sqs:sendMessage" {
		t.Error(got)
	}
	for name, want := range map[string]string{
		"worker":                                "arn:aws-cn:lambda:us-east-1:123456789012:function:worker",
		"worker:live":                           "arn:aws-cn:lambda:us-east-1:123456789012:function:worker:live",
		"210987654321:function:worker":          "arn:aws-cn:lambda:us-east-1:210987654321:function:worker",
		"arn:aws:lambda:eu-west-1:1:function:w": "arn:aws:lambda:eu-west-1:1:function:w",
	} {
		if got := s.function(name).String(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestScheduleCanBeMadeAndCancelledAgain(t *testing.T) {
	double := schedulerdouble.New(t, now(), schedulerdouble.Targets{})
	double.AddGroup("tasks")
	s := New(client(double.URL()), Options{Now: now, RoleARN: role, GroupName: "tasks"})
	for _, input := range []string{`{"n":1}`, `{"n":1}`, `{"n":2}`} { // a rebuilt message has another token
		if err := request(t.Context(), s, id, epoch.Add(2*time.Hour), input); err != nil {
			t.Fatal(err)
		}
	}
	if all := double.Schedules(); len(all) != 1 || all[0].Name != id || all[0].ClientToken != id || all[0].GroupName != "tasks" || !all[0].Due().Equal(epoch.Add(2*time.Hour)) {
		t.Errorf("%+v", all)
	}
	for range 2 {
		if err := s.Cancel(t.Context(), sentOf(id)); err != nil {
			t.Error(err)
		}
	}
	if len(double.Schedules()) != 0 {
		t.Error("it is still there")
	}
	for n, want := range map[int]task.Kind{MaxBodyBytes: "", MaxBodyBytes + 1: task.MessageTooLarge} {
		other := task.NewID()
		err := request(t.Context(), s, other, epoch.Add(time.Hour), `"`+strings.Repeat("<", n-2)+`"`)
		if task.KindOf(err) != want {
			t.Errorf("a body of %d bytes: %v, want %q", n, err, want)
		}
		if err := s.Cancel(t.Context(), sentOf(other)); err != nil {
			t.Error(err)
		}
	}
	missing := New(client(double.URL()), Options{Now: now, RoleARN: role, GroupName: "no-such"})
	err := request(t.Context(), missing, id, epoch.Add(time.Hour), "{}")
	if task.KindOf(err) != task.Unavailable || !strings.Contains(err.Error(), "no schedule group no-such") {
		t.Error(err)
	}
}

func TestFaultsAreBoundedAndRecover(t *testing.T) {
	for _, name := range []string{"CreateSchedule", "DeleteSchedule"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := faults.To(t, schedulerdouble.New(t, now(), schedulerdouble.Targets{}).URL())
			s := New(client(p.URL()), Options{Now: now, RoleARN: role})
			faults.Run(t, faults.Subject{
				TCP: p.TCP, Faults: p.Faults(faultproxy.Any, faults.AWS, true), Says: "EventBridge Scheduler", Long: name != "CreateSchedule",
				Call: func(ctx context.Context) error {
					if name == "DeleteSchedule" {
						return s.Cancel(ctx, sentOf(id))
					}
					return request(ctx, s, id, epoch.Add(time.Hour), "{}")
				},
			})
		})
	}
}

func TestScheduleWithLostAnswerIsMadeOnce(t *testing.T) {
	double := schedulerdouble.New(t, now(), schedulerdouble.Targets{})
	p := faultproxy.New(t, double.URL())
	s := New(client(p.URL()), Options{Now: now, RoleARN: role})
	p.Next(faultproxy.Any, faultproxy.ResetAfter)
	err := request(t.Context(), s, id, epoch.Add(time.Hour), "{}")
	if err != nil || len(double.Schedules()) != 1 {
		t.Errorf("%v, %d schedules", err, len(double.Schedules()))
	}
}

func TestTranslate(t *testing.T) {
	s := New(client("http://127.0.0.1:1"), Options{Now: now, RoleARN: role, GroupName: "tasks"})
	answer := func(status int, err error) error {
		return fmt.Errorf("SECRET: %w", &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err,
		})
	}
	for name, c := range map[string]struct {
		err   error
		after time.Duration
		says  string
	}{
		"group":     {answer(404, &types.ResourceNotFoundException{}), 0, "no schedule group tasks"},
		"invalid":   {answer(400, &types.ValidationException{Message: aws.String("SECRET")}), 0, "does not accept the schedule's role"},
		"full":      {answer(402, &types.ServiceQuotaExceededException{}), 0, "as many schedules"},
		"throttled": {answer(429, &types.ThrottlingException{}), time.Second, "busy"},
		"denied":    {answer(403, &smithy.GenericAPIError{Code: "AccessDeniedException"}), 0, "does not let"},
		"internal":  {answer(500, &types.InternalServerException{}), 0, "cannot serve"},
		"network":   {errors.New("SECRET"), 0, "cannot be reached"},
	} {
		err := s.translate(c.err, "create", id)
		var e *task.Error
		if !errors.As(err, &e) || e.Kind != task.Unavailable || e.RetryAfter != c.after || !strings.Contains(e.Msg, c.says) || strings.Contains(e.Msg, "SECRET") || !errors.Is(err, c.err) {
			t.Errorf("%s: %#v", name, err)
		}
	}
	if s.translate(nil, "create", id) != nil {
		t.Error("nil")
	}
}
