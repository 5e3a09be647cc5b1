package schedulerdouble

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// Targets are the clients that schedules fire with; a schedule whose client is nil fails to fire.
type Targets struct {
	SQS    *sqs.Client
	SNS    *sns.Client
	Lambda *lambda.Client
}

// universal begins the ARN of a universal target, whose input is the request of any API operation:
// https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html
const universal = "arn:aws:scheduler:::aws-sdk:"

// Now is the time on the double's clock.
func (s *Scheduler) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Advance moves the clock by d and fires what has become due, the earliest first; it returns once
// all of it is delivered. What could not be delivered is in the error, and is tried again by the
// next Advance, as the service repeats deliveries for up to a day:
// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_RetryPolicy.html
// The service fires up to 59 s after the time given; the double fires at once.
func (s *Scheduler) Advance(ctx context.Context, d time.Duration) error {
	s.mu.Lock()
	s.now = s.now.Add(d)
	now := s.now
	s.mu.Unlock()
	var failures []error
	for _, schedule := range s.Schedules() {
		if schedule.due.After(now) || schedule.State != "ENABLED" || schedule.done {
			continue
		}
		if err := s.fire(ctx, schedule); err != nil {
			failures = append(failures, fmt.Errorf("schedule %s: %w", schedule.Name, err))
		}
	}
	return errors.Join(failures...)
}

func (s *Scheduler) fire(ctx context.Context, schedule Schedule) error {
	s.mu.Lock()
	s.firings++
	execution := fmt.Sprintf("%016x", s.firings)
	s.mu.Unlock()
	// https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
	input := strings.NewReplacer(
		"<aws.scheduler.schedule-arn>", schedule.arn(),
		"<aws.scheduler.scheduled-time>", schedule.due.UTC().Format(time.RFC3339),
		"<aws.scheduler.execution-id>", execution,
		"<aws.scheduler.attempt-number>", strconv.Itoa(schedule.attempts+1),
	).Replace(schedule.Target.Input)
	err := s.deliver(ctx, schedule.Target, input)

	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.schedules[schedule.key()]
	switch {
	case kept == nil: // deleted meanwhile
	case err != nil:
		kept.attempts++
	case kept.ActionAfterCompletion == "DELETE":
		delete(s.schedules, schedule.key())
	default:
		kept.done = true
	}
	return err
}

// deliver calls the target: templated ones by the service in their ARN, universal ones by operation.
// https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-templated.html
func (s *Scheduler) deliver(ctx context.Context, target *Target, input string) error {
	if operation, ok := strings.CutPrefix(target.Arn, universal); ok {
		return s.deliverUniversal(ctx, operation, []byte(input))
	}
	parts := strings.SplitN(target.Arn, ":", 6)
	switch parts[2] {
	case "sqs":
		return s.deliverSQS(ctx, target, parts[5], input)
	case "sns":
		return s.publish(ctx, &sns.PublishInput{TopicArn: &target.Arn, Message: &input})
	case "lambda":
		return s.invoke(ctx, target.Arn, []byte(input))
	}
	return fmt.Errorf("the double does not fire at %s", target.Arn)
}

func (s *Scheduler) deliverSQS(ctx context.Context, target *Target, queue, input string) error {
	if s.targets.SQS == nil {
		return errors.New("the double has no SQS client")
	}
	url, err := s.targets.SQS.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &queue})
	if err != nil {
		return err
	}
	message := &sqs.SendMessageInput{QueueUrl: url.QueueUrl, MessageBody: &input}
	if target.SqsParameters != nil && target.SqsParameters.MessageGroupId != "" {
		message.MessageGroupId = &target.SqsParameters.MessageGroupId
	}
	return s.send(ctx, message)
}

func (s *Scheduler) send(ctx context.Context, message *sqs.SendMessageInput) error {
	if s.targets.SQS == nil {
		return errors.New("the double has no SQS client")
	}
	_, err := s.targets.SQS.SendMessage(ctx, message)
	return err
}

func (s *Scheduler) publish(ctx context.Context, message *sns.PublishInput) error {
	if s.targets.SNS == nil {
		return errors.New("the double has no SNS client")
	}
	_, err := s.targets.SNS.Publish(ctx, message)
	return err
}

func (s *Scheduler) invoke(ctx context.Context, function string, payload []byte) error {
	if s.targets.Lambda == nil {
		return errors.New("the double has no Lambda client")
	}
	_, err := s.targets.Lambda.Invoke(ctx, &lambda.InvokeInput{
		FunctionName: aws.String(function), InvocationType: lambdatypes.InvocationTypeEvent, Payload: payload,
	})
	return err
}

func (s *Scheduler) deliverUniversal(ctx context.Context, operation string, input []byte) error {
	switch operation {
	case "sqs:sendMessage":
		var message sqs.SendMessageInput
		if err := json.Unmarshal(input, &message); err != nil {
			return err
		}
		return s.send(ctx, &message)
	case "sns:publish":
		var message sns.PublishInput
		if err := json.Unmarshal(input, &message); err != nil {
			return err
		}
		return s.publish(ctx, &message)
	case "lambda:invoke":
		var call struct{ FunctionName, Payload string }
		if err := json.Unmarshal(input, &call); err != nil {
			return err
		}
		return s.invoke(ctx, call.FunctionName, []byte(call.Payload))
	}
	return fmt.Errorf("the double does not call %s", operation)
}
