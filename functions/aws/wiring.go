package main

import (
	"cmp"
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/dynamostore"
	"github.com/taskgate/taskgate/adapters/aws/lambdadispatch"
	"github.com/taskgate/taskgate/adapters/aws/schedule"
	"github.com/taskgate/taskgate/adapters/aws/snsdispatch"
	"github.com/taskgate/taskgate/adapters/aws/sqsdispatch"
	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/functions/settings"
	"github.com/taskgate/taskgate/functions/wiring"
)

// api makes the clients and wires the service over them. The warm-up opens
// their connections. All clients come from one SDK configuration and share its
// connections.
func (c config) api(sdk aws.Config, log *slog.Logger) (httpapi.Config, warmUp) {
	awssdk.Bound(&sdk)
	store := dynamodb.NewFromConfig(sdk)
	backends := map[string]task.Backend{}
	for _, b := range c.Backends {
		backends[b.Alias] = backend(sdk, b)
	}
	records := dynamostore.New(store, c.table, dynamostore.Options{})
	return wiring.API(c.Service, records, dynamostore.MaxPayloadBytes, backends, log), warmUp{store: store, backends: backends}
}

// backend wires one of TASKS, with the clients that it needs and no others.
func backend(sdk aws.Config, b settings.Backend) task.Backend {
	switch o := b.Options.(type) {
	case *settings.SQSOptions:
		sdk := in(sdk, o.Region)
		return wiring.Backend(b, "sqs", sqsdispatch.New(sqs.NewFromConfig(sdk), sqsdispatch.Options{Scheduler: schedules(sdk, o.Scheduler)}))
	case *settings.EventBridgeSchedulerOptions:
		sdk := in(sdk, o.Region)
		options := sqsdispatch.Options{Scheduler: schedules(sdk, o.Scheduler), ScheduleAlways: true}
		return wiring.Backend(b, "scheduler", sqsdispatch.New(sqs.NewFromConfig(sdk), options))
	case *settings.SNSOptions:
		topics, _ := arn.Parse(o.ARNPrefix) // checked by settings; SNS takes a topic of its own region only
		sdk := in(sdk, cmp.Or(o.Region, topics.Region))
		options := snsdispatch.Options{ARNPrefix: o.ARNPrefix, Scheduler: schedules(sdk, o.Scheduler)}
		return wiring.Backend(b, "sns", snsdispatch.New(sns.NewFromConfig(sdk), options))
	case *settings.LambdaOptions:
		sdk := in(sdk, o.Region)
		return wiring.Backend(b, "lambda", lambdadispatch.New(lambda.NewFromConfig(sdk), lambdadispatch.Options{Scheduler: schedules(sdk, o.Scheduler)}))
	}
	return task.Backend{} // readConfig takes no other
}

// in returns the configuration for a region, "" being the function's own.
func in(sdk aws.Config, region string) aws.Config {
	if region != "" {
		sdk.Region = region
	}
	return sdk
}

// schedules returns nil where no role is configured: then the Scheduler is not used.
func schedules(sdk aws.Config, o settings.Scheduler) *schedule.Scheduler {
	if o.RoleARN == "" {
		return nil
	}
	return schedule.New(scheduler.NewFromConfig(sdk), schedule.Options{RoleARN: o.RoleARN, GroupName: o.GroupName, DLQARN: o.DLQARN})
}
