package main

import (
	"regexp"
	"strings"

	"github.com/taskgate/taskgate/functions/settings"
)

// config is what the worker reads from its environment.
type config struct {
	eventsBase       string   // the only origin that reports are sent to
	deadLetterQueues []string // ARNs of the triggers whose messages are dead letters
}

var queueARN = regexp.MustCompile(`^arn:aws[a-z-]*:sqs:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+(\.fifo)?$`)

// readConfig reads the environment, and reports all its mistakes together.
func readConfig(environ []string) (config, error) {
	env := settings.NewEnv(environ)
	c := config{eventsBase: env.RequiredURL("TASKGATE_EVENTS_BASE")}
	const name = "TASKGATE_DEAD_LETTER_QUEUE_ARNS"
	for _, arn := range strings.FieldsFunc(env.String(name, ""), func(r rune) bool { return r == ',' || r == ' ' }) {
		if !queueARN.MatchString(arn) {
			env.Failf("%s must be SQS queues' ARNs, separated by commas, each like arn:aws:sqs:eu-west-1:123456789012:name", name)
			continue
		}
		c.deadLetterQueues = append(c.deadLetterQueues, arn)
	}
	return c, env.Err()
}
