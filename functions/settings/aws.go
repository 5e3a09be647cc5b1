package settings

import "strings"

// SQSOptions are the options of SQSBackend.
type SQSOptions struct {
	Region    string    // AWS_REGION; "" = the SDK's own
	Scheduler Scheduler // for delays beyond 900 s
}

// SNSOptions are the options of SNSTopicBackend.
type SNSOptions struct {
	ARNPrefix string    // AWS_SNS_ARN_PREFIX: all of a topic's ARN but its name, the last colon included
	Region    string    // AWS_REGION; "" = the SDK's own
	Scheduler Scheduler // for delays
}

// EventBridgeSchedulerOptions are the options of EventBridgeSchedulerBackend,
// whose queues are SQS queues.
type EventBridgeSchedulerOptions struct {
	Region    string    // AWS_REGION; "" = the SDK's own
	Scheduler Scheduler // always with a role
}

// LambdaOptions are the options of LambdaAsyncInvocationBackend, whose queues
// are functions.
type LambdaOptions struct {
	Region    string    // AWS_REGION; "" = the SDK's own
	Scheduler Scheduler // for delays
}

// Scheduler is how EventBridge Scheduler sends what is due later.
type Scheduler struct {
	RoleARN   string // EVENTBRIDGE_SCHEDULER_ROLE_ARN, which it assumes to send; "" = it is not used
	GroupName string // EVENTBRIDGE_SCHEDULER_GROUP_NAME; "" = the account's default group
	DLQARN    string // EVENTBRIDGE_SCHEDULER_DLQ_ARN, an SQS queue for what it cannot deliver; "" = none
}

const (
	roleOption   = "EVENTBRIDGE_SCHEDULER_ROLE_ARN"
	groupOption  = "EVENTBRIDGE_SCHEDULER_GROUP_NAME"
	dlqOption    = "EVENTBRIDGE_SCHEDULER_DLQ_ARN"
	prefixOption = "AWS_SNS_ARN_PREFIX"
	regionOption = "AWS_REGION"
)

func (o *SQSOptions) fields() fields                  { return o.Scheduler.fields(&o.Region) }
func (o *EventBridgeSchedulerOptions) fields() fields { return o.Scheduler.fields(&o.Region) }
func (o *LambdaOptions) fields() fields               { return o.Scheduler.fields(&o.Region) }

func (o *SNSOptions) fields() fields {
	f := o.Scheduler.fields(&o.Region)
	f[prefixOption] = text(&o.ARNPrefix)
	return f
}

// fields returns the options that all AWS backends have.
func (s *Scheduler) fields(region *string) fields {
	return fields{
		regionOption: text(region),
		roleOption:   text(&s.RoleARN),
		groupOption:  text(&s.GroupName),
		dlqOption:    text(&s.DLQARN),
	}
}

func (o *SQSOptions) check(c *checker)    { o.Scheduler.check(c, o.Region) }
func (o *LambdaOptions) check(c *checker) { o.Scheduler.check(c, o.Region) }

func (o *EventBridgeSchedulerOptions) check(c *checker) {
	if c.required(roleOption, o.Scheduler.RoleARN, "") {
		o.Scheduler.check(c, o.Region)
	}
}

func (o *SNSOptions) check(c *checker) {
	o.Scheduler.check(c, o.Region)
	if !c.required(prefixOption, o.ARNPrefix, "") {
		return
	}
	a, ok := parseARN(o.ARNPrefix)
	switch {
	case !ok || a.service != "sns" || !isRegion(a.region) || !isAccount(a.account) || a.resource != "":
		c.broken(prefixOption, "must look like arn:aws:sns:eu-west-1:123456789012: with its last colon")
	case o.Region != "" && a.region != o.Region:
		c.broken(prefixOption, "is in another region than %s says", regionOption)
	}
}

func (s *Scheduler) check(c *checker, region string) {
	if region != "" && !isRegion(region) {
		c.broken(regionOption, "must be a region's name, such as eu-west-1")
	}
	if s.RoleARN == "" {
		if s.GroupName != "" {
			c.broken(groupOption, "needs %s", roleOption)
		}
		if s.DLQARN != "" {
			c.broken(dlqOption, "needs %s", roleOption)
		}
		return
	}
	role, ok := parseARN(s.RoleARN)
	if !ok || role.service != "iam" || role.region != "" || !isAccount(role.account) || !isRole(role.resource) {
		c.broken(roleOption, "must look like arn:aws:iam::123456789012:role/name")
	}
	if s.GroupName != "" && !isGroup(s.GroupName) {
		c.broken(groupOption, "must be 1 to 64 letters, digits and any of . _ -")
	}
	dlq, ok := parseARN(s.DLQARN)
	if s.DLQARN != "" && (!ok || dlq.service != "sqs" || !isRegion(dlq.region) || !isAccount(dlq.account) || dlq.resource == "") {
		c.broken(dlqOption, "must look like arn:aws:sqs:eu-west-1:123456789012:name")
	}
}

// arn is an Amazon Resource Name in its parts:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
type arn struct{ partition, service, region, account, resource string }

func parseARN(s string) (arn, bool) {
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" || strings.ContainsAny(s, " \t") {
		return arn{}, false
	}
	a := arn{p[1], p[2], p[3], p[4], p[5]}
	return a, a.partition == "aws" || strings.HasPrefix(a.partition, "aws-") // aws-cn, aws-us-gov, …
}

func isRegion(s string) bool {
	return strings.Count(s, "-") >= 2 && only(s, "abcdefghijklmnopqrstuvwxyz0123456789-") &&
		!strings.HasPrefix(s, "-") && !strings.HasSuffix(s, "-")
}

func isAccount(s string) bool { return len(s) == 12 && only(s, "0123456789") }

func isRole(s string) bool { return strings.HasPrefix(s, "role/") && !strings.HasSuffix(s, "/") }

func isGroup(s string) bool {
	return len(s) <= 64 && only(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789._-")
}

// only reports whether s has no other characters than those.
func only(s, those string) bool { return strings.Trim(s, those) == "" }
