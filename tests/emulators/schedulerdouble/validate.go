package schedulerdouble

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
	_ "time/tzdata" // zones, on machines that have none
)

// Patterns and lengths: https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html
// and https://docs.aws.amazon.com/scheduler/latest/APIReference/API_Target.html
var (
	namePattern  = regexp.MustCompile(`^[0-9a-zA-Z-_.]{1,64}$`)
	tokenPattern = regexp.MustCompile(`^[a-zA-Z0-9-_]{1,64}$`)
	arnPattern   = regexp.MustCompile(`^arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:\d{0,12}:.+$`)
	rolePattern  = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$`)
	// https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#one-time
	atPattern = regexp.MustCompile(`^at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)$`)
)

const (
	maxARN = 1600 // characters: API_Target.html
	// maxInput is in bytes. The API reference names no maximum, and the quotas page (256 KB) could
	// not be compared with the service.
	// https://docs.aws.amazon.com/scheduler/latest/UserGuide/scheduler-quotas.html
	maxInput  = 256 << 10
	maxWindow = 1440 // minutes: API_FlexibleTimeWindow.html
)

func invalid(format string, args ...any) *refusal {
	return &refusal{http.StatusBadRequest, "ValidationException", fmt.Sprintf(format, args...)}
}

// validate refuses what CreateSchedule refuses, and works out when the schedule is due.
func (s *Schedule) validate(now time.Time) *refusal {
	switch {
	case !namePattern.MatchString(s.Name):
		return invalid("Value '%s' at 'name' failed to satisfy constraint: %s", s.Name, namePattern)
	case !namePattern.MatchString(s.GroupName):
		return invalid("Value '%s' at 'groupName' failed to satisfy constraint: %s", s.GroupName, namePattern)
	case s.ClientToken != "" && !tokenPattern.MatchString(s.ClientToken):
		return invalid("Value '%s' at 'clientToken' failed to satisfy constraint: %s", s.ClientToken, tokenPattern)
	case s.State != "ENABLED" && s.State != "DISABLED":
		return invalid("Value '%s' at 'state' failed to satisfy constraint: [ENABLED, DISABLED]", s.State)
	case s.ActionAfterCompletion != "NONE" && s.ActionAfterCompletion != "DELETE":
		return invalid("Value '%s' at 'actionAfterCompletion' failed to satisfy constraint: [NONE, DELETE]", s.ActionAfterCompletion)
	}
	if refused := s.FlexibleTimeWindow.validate(); refused != nil {
		return refused
	}
	if refused := s.Target.validate(); refused != nil {
		return refused
	}
	return s.validateTime(now)
}

// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_FlexibleTimeWindow.html
func (f *FlexibleTimeWindow) validate() *refusal {
	switch {
	case f == nil:
		return invalid("Value null at 'flexibleTimeWindow' failed to satisfy constraint: Member must not be null")
	case f.Mode == "OFF" && f.MaximumWindowInMinutes == 0:
		return nil
	case f.Mode == "FLEXIBLE" && f.MaximumWindowInMinutes >= 1 && f.MaximumWindowInMinutes <= maxWindow:
		return nil
	}
	return invalid("FlexibleTimeWindow: mode '%s' with a window of %d minutes is not valid", f.Mode, f.MaximumWindowInMinutes)
}

// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_Target.html
// A FIFO queue without a group would fail at the firing; it is refused here, where a test sees it.
func (t *Target) validate() *refusal {
	switch {
	case t == nil:
		return invalid("Value null at 'target' failed to satisfy constraint: Member must not be null")
	case len(t.Arn) > maxARN || !arnPattern.MatchString(t.Arn):
		return invalid("Provided Arn is not in correct format: '%s'", t.Arn)
	case len(t.RoleArn) > maxARN || !rolePattern.MatchString(t.RoleArn):
		return invalid("Provided RoleArn is not in correct format: '%s'", t.RoleArn)
	case len(t.Input) > maxInput:
		return invalid("Input of %d bytes exceeds %d", len(t.Input), maxInput)
	case t.needsJSON() && t.Input != "" && !json.Valid([]byte(t.Input)):
		return invalid("Input must be well-formed JSON for target %s", t.Arn)
	case t.SqsParameters != nil && !strings.Contains(t.Arn, ":sqs:"):
		return invalid("SqsParameters given for target %s", t.Arn)
	case strings.HasSuffix(t.Arn, ".fifo") && strings.Contains(t.Arn, ":sqs:") && (t.SqsParameters == nil || t.SqsParameters.MessageGroupId == ""):
		return invalid("SqsParameters.MessageGroupId is required for FIFO queue %s", t.Arn)
	}
	return nil
}

// needsJSON tells the targets whose input must be JSON: Lambda, and every universal target.
func (t *Target) needsJSON() bool {
	return strings.Contains(t.Arn, ":lambda:") || strings.HasPrefix(t.Arn, universal)
}

// validateTime takes one-time schedules only: the double's users make no others. A time in the past
// is refused so that nobody relies on it; what the service does with one is not documented.
// https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
func (s *Schedule) validateTime(now time.Time) *refusal {
	zone, err := time.LoadLocation(s.ScheduleExpressionTimezone)
	if err != nil || s.ScheduleExpressionTimezone == "Local" {
		return invalid("The ScheduleExpressionTimezone '%s' is not valid.", s.ScheduleExpressionTimezone)
	}
	at := atPattern.FindStringSubmatch(s.ScheduleExpression)
	if at == nil {
		return invalid("Invalid Schedule Expression %s.", s.ScheduleExpression)
	}
	if s.due, err = time.ParseInLocation("2006-01-02T15:04:05", at[1], zone); err != nil {
		return invalid("Invalid Schedule Expression %s.", s.ScheduleExpression)
	}
	if s.due.Before(now.Truncate(time.Second)) {
		return invalid("Schedule Expression %s is in the past.", s.ScheduleExpression)
	}
	return nil
}
