package settings

import (
	"slices"
	"strings"
)

// SQSOptions are the options of SQSBackend.
type SQSOptions struct {
	Region    string    // AWS_REGION; "" = the SDK's own
	Scheduler Scheduler // for delays beyond 900 s
}

// SNSOptions are the options of SNSTopicBackend.
type SNSOptions struct {
	ARNPrefix string    // AWS_SNS_ARN_PREFIX: a topic's ARN without the topic's name, with the last colon
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

// Scheduler says how EventBridge Scheduler sends the messages that are due later.
type Scheduler struct {
	RoleARN   string // EVENTBRIDGE_SCHEDULER_ROLE_ARN: it assumes this role to send; "" = the Scheduler is not used
	GroupName string // EVENTBRIDGE_SCHEDULER_GROUP_NAME; "" = the account's default group
	DLQARN    string // EVENTBRIDGE_SCHEDULER_DLQ_ARN: an SQS queue for messages that it cannot deliver; "" = none
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

func (o *SQSOptions) check(c *checker)    { o.Scheduler.check(c, c.region(o.Region)) }
func (o *LambdaOptions) check(c *checker) { o.Scheduler.check(c, c.region(o.Region)) }

func (o *EventBridgeSchedulerOptions) check(c *checker) {
	region := c.region(o.Region)
	if c.required(roleOption, o.Scheduler.RoleARN, "") {
		o.Scheduler.check(c, region)
	}
}

func (o *SNSOptions) check(c *checker) {
	region := c.region(o.Region)
	o.Scheduler.check(c, region)
	if !c.required(prefixOption, o.ARNPrefix, "") {
		return
	}
	a, ok := parseARN(o.ARNPrefix)
	if !ok || a.service != "sns" || !isRegion(a.region) || !isAccount(a.account) || a.resource != "" {
		c.broken(prefixOption, "must be the ARN of a topic without the topic's name, such as arn:aws:sns:eu-west-1:123456789012: with its last colon")
		return
	}
	c.place(prefixOption, a, region)
}

// region returns the region of a backend, or "" if it is not known: the one of
// the option, else the main's own.
func (c *checker) region(option string) string {
	switch {
	case option == "":
		return c.main.Region
	case !isRegion(option):
		c.broken(regionOption, "must be the name of a region, such as eu-west-1")
		return ""
	}
	return option
}

// place checks that an ARN is of its region's partition, and that what it names
// is where the backend is.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
func (c *checker) place(option string, a arn, region string) {
	own := a.region
	if own == "" { // IAM has no regions
		own = region
	}
	switch {
	case own != "" && a.partition != partition(own):
		c.broken(option, "has the partition %s, but the partition of %s is %s", a.partition, own, partition(own))
	case a.region != "" && region != "" && a.region != region:
		c.broken(option, "is in the region %s, but the backend is in %s, which %s says", a.region, region, regionOption)
	}
}

// check holds the options of the Scheduler against the documentation of its
// API, for a backend in the region ("" = unknown).
func (s *Scheduler) check(c *checker, region string) {
	if s.RoleARN == "" {
		if s.GroupName != "" {
			c.broken(groupOption, "needs %s", roleOption)
		}
		if s.DLQARN != "" {
			c.broken(dlqOption, "needs %s", roleOption)
		}
		return
	}
	// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_Target.html#API_Target_Contents
	role, ok := parseARN(s.RoleARN)
	if !ok || role.service != "iam" || role.region != "" || !isAccount(role.account) || !isRole(role.resource) {
		c.broken(roleOption, "must be the ARN of a role, such as arn:aws:iam::123456789012:role/name")
	} else {
		c.place(roleOption, role, region)
	}
	// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html
	if s.GroupName != "" && (len(s.GroupName) > 64 || !only(s.GroupName, letters+digits+"._-")) {
		c.broken(groupOption, "must have 1 to 64 characters: letters, digits and any of . _ -")
	}
	if s.DLQARN != "" {
		s.checkDLQ(c, region)
	}
}

// checkDLQ holds the dead-letter queue against
// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_DeadLetterConfig.html
// and https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html,
// which excludes FIFO queues. The queue must be in the schedule's region, as the
// AWS CDK's aws-scheduler-targets says, too.
func (s *Scheduler) checkDLQ(c *checker, region string) {
	dlq, ok := parseARN(s.DLQARN)
	switch {
	case !ok || dlq.service != "sqs" || !isRegion(dlq.region) || !isAccount(dlq.account) || dlq.resource == "":
		c.broken(dlqOption, "must be the ARN of an SQS queue, such as arn:aws:sqs:eu-west-1:123456789012:name")
	case strings.HasSuffix(dlq.resource, ".fifo"):
		c.broken(dlqOption, "must be a standard queue: the Scheduler does not support FIFO queues as dead-letter queues")
	case len(dlq.resource) > 80 || !only(dlq.resource, letters+digits+"_-"):
		c.broken(dlqOption, "must end with the name of a queue: 1 to 80 letters, digits, - and _")
	default:
		c.place(dlqOption, dlq, region)
	}
}

// arn is an Amazon Resource Name in its parts:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
type arn struct{ partition, service, region, account, resource string }

func parseARN(s string) (arn, bool) {
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" {
		return arn{}, false
	}
	a := arn{p[1], p[2], p[3], p[4], p[5]}
	return a, a.partition == "aws" || strings.HasPrefix(a.partition, "aws-")
}

// partition returns the partition that a region belongs to, as the AWS SDKs'
// partitions.json has it.
func partition(region string) string {
	for _, p := range []struct{ regions, partition string }{
		{"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"}, {"eusc-", "aws-eusc"},
		{"us-iso-", "aws-iso"}, {"us-isob-", "aws-iso-b"}, {"eu-isoe-", "aws-iso-e"}, {"us-isof-", "aws-iso-f"},
	} {
		if strings.HasPrefix(region, p.regions) {
			return p.partition
		}
	}
	return "aws"
}

const (
	digits  = "0123456789"
	lower   = "abcdefghijklmnopqrstuvwxyz"
	letters = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// isRegion reports whether s has the form of a region, such as eu-west-1 or
// us-gov-west-1. An availability zone such as eu-west-1a has not.
func isRegion(s string) bool {
	parts := strings.Split(s, "-")
	last := len(parts) - 1
	return last >= 2 && parts[last] != "" && only(parts[last], digits) &&
		!slices.ContainsFunc(parts[:last], func(p string) bool { return p == "" || !only(p, lower) })
}

func isAccount(s string) bool { return len(s) == 12 && only(s, digits) }

// isRole reports whether an ARN's resource is a role with its path.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
func isRole(resource string) bool {
	path, isRole := strings.CutPrefix(resource, "role/")
	name := path[strings.LastIndexByte(path, '/')+1:]
	return isRole && name != "" && len(name) <= 64 && only(path, letters+digits+"_+=,.@/-")
}

// only reports whether s has no other characters than those.
func only(s, those string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(those, r) })
}
