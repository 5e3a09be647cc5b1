package awssdk_test

import (
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/lambdadispatch"
	"github.com/taskgate/taskgate/adapters/aws/schedule"
	"github.com/taskgate/taskgate/adapters/aws/snsdispatch"
	"github.com/taskgate/taskgate/adapters/aws/sqsdispatch"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/core/task/tasktest"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
)

// TestWhatAWSRefusesLaterIsRefusedAtOnce: by name, before anything is stored or
// sent. AWS would refuse some of these only when a schedule fires.
func TestWhatAWSRefusesLaterIsRefusedAtOnce(t *testing.T) {
	cfg := awsemu.Config("http://127.0.0.1:1") // nobody answers there
	awssdk.Bound(&cfg)
	s := schedule.New(scheduler.NewFromConfig(cfg), schedule.Options{RoleARN: "arn:aws:iam::" + awsemu.Account + ":role/scheduler"})
	messages := sqs.NewFromConfig(cfg)
	service := newRig("http://127.0.0.1:1").service
	service.Store = &tasktest.Store{}
	service.Backends = map[string]task.Backend{
		"sqs":       {Dispatcher: sqsdispatch.New(messages, sqsdispatch.Options{Scheduler: s}), CheckQueue: sqsdispatch.CheckName},
		"scheduler": {Dispatcher: sqsdispatch.New(messages, sqsdispatch.Options{Scheduler: s, ScheduleAlways: true}), CheckQueue: sqsdispatch.CheckName},
		"sns":       {Dispatcher: snsdispatch.New(sns.NewFromConfig(cfg), snsdispatch.Options{ARNPrefix: awsemu.ARN("sns", ""), Scheduler: s}), CheckQueue: snsdispatch.CheckName},
		"lambda":    {Dispatcher: lambdadispatch.New(lambda.NewFromConfig(cfg), lambdadispatch.Options{Scheduler: s}), CheckQueue: lambdadispatch.CheckName},
	}
	for name, c := range map[string]struct {
		req     task.Request
		pointer string
	}{
		"a group with a space":         {task.Request{Backend: "sqs", QueueName: "tasks.fifo", Group: "customer 17"}, "/group"},
		"a group that is not ASCII":    {task.Request{Backend: "sqs", QueueName: "tasks", Group: "größe"}, "/group"},
		"such a group, later":          {task.Request{Backend: "scheduler", QueueName: "tasks.fifo", Group: "größe", RunAfter: task.At(time.Now().Add(time.Hour))}, "/group"},
		"such a group of a topic":      {task.Request{Backend: "sns", QueueName: "tasks.fifo", Group: "customer 17"}, "/group"},
		"a group of a standard topic":  {task.Request{Backend: "sns", QueueName: "tasks", Group: "customer-17"}, "/group"},
		"a group of a function":        {task.Request{Backend: "lambda", QueueName: "worker", Group: "customer-17"}, "/group"},
		"a name with U+FFFF":           {task.Request{Backend: "sqs", QueueName: "tasks", TaskName: "a\uffff"}, "/task_name"},
		"a name with U+FFFE, to SNS":   {task.Request{Backend: "sns", QueueName: "tasks", TaskName: "a\ufffe"}, "/task_name"},
		"a queue's name with a slash":  {task.Request{Backend: "sqs", QueueName: "a/b"}, "/queue_name"},
		"a queue's name with a dot":    {task.Request{Backend: "scheduler", QueueName: "a.b"}, "/queue_name"},
		"a topic's name with a slash":  {task.Request{Backend: "sns", QueueName: "a/b"}, "/queue_name"},
		"a function's name that is no": {task.Request{Backend: "lambda", QueueName: "a/b"}, "/queue_name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.req.Args, c.req.Kwargs = jsontext.Value("[]"), jsontext.Value("{}")
			if c.req.TaskName == "" {
				c.req.TaskName = "send"
			}
			_, err := service.Enqueue(t.Context(), task.Call{Owner: "alice", BaseURL: "https://tasks.example.com"}, c.req)
			var e *task.Error
			if !errors.As(err, &e) || len(e.Fields) != 1 || e.Fields[0].Pointer != c.pointer {
				t.Errorf("%v, want an error at %s", err, c.pointer)
			}
		})
	}
}
