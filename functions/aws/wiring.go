package main

import (
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/adapters/aws/dynamostore"
	"github.com/taskgate/taskgate/adapters/aws/lambdadispatch"
	"github.com/taskgate/taskgate/adapters/aws/schedulerdispatch"
	"github.com/taskgate/taskgate/adapters/aws/snsdispatch"
	"github.com/taskgate/taskgate/adapters/aws/sqsdispatch"
	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/functions/settings"
)

// api wires the service and the handler over it, and says what to warm up. All
// clients come of one configuration, and share its connections.
func (c config) api(sdk aws.Config, log *slog.Logger) (httpapi.Config, warmUp) {
	awssdk.Bound(&sdk)
	store := dynamodb.NewFromConfig(sdk)
	auth := httpapi.Keys(c.APIKeys)
	if c.Auth == settings.AuthPlatform {
		auth = httpapi.FromPlatform
	}
	backends := map[string]task.Backend{}
	for _, b := range c.Backends {
		backends[b.Alias] = backend(sdk, b)
	}
	return httpapi.Config{
		Service: &task.Service{
			Store:           dynamostore.New(store, c.table, dynamostore.Options{}),
			Backends:        backends,
			Tokens:          task.Tokens{Secrets: c.TokenSecrets},
			ResultTTL:       c.ResultTTL,
			MaxWait:         c.MaxWait,
			MaxPayloadBytes: dynamostore.MaxPayloadBytes,
			Now:             time.Now,
			NewID:           task.NewID,
			Log:             log,
		},
		Auth:      auth,
		PublicURL: c.PublicURL,
		Log:       log,
	}, warmUp{store: store, backends: backends}
}

// backend wires one of TASKS, with the clients that it needs and no others.
func backend(sdk aws.Config, b settings.Backend) task.Backend {
	wired := task.Backend{Queues: b.Queues, DefaultQueue: b.DefaultQueue, Plain: b.Plain}
	switch o := b.Options.(type) {
	case *settings.SQSOptions:
		sdk := in(sdk, o.Region)
		options := sqsdispatch.Options{}
		if s := schedules(sdk, o.Scheduler); s != nil {
			options.Scheduler = s
		}
		wired.Target, wired.Dispatcher = "sqs", sqsdispatch.New(sqs.NewFromConfig(sdk), options)
	case *settings.EventBridgeSchedulerOptions:
		sdk := in(sdk, o.Region)
		options := sqsdispatch.Options{Scheduler: schedules(sdk, o.Scheduler), ScheduleAlways: true}
		wired.Target, wired.Dispatcher = "scheduler", sqsdispatch.New(sqs.NewFromConfig(sdk), options)
	case *settings.SNSOptions:
		sdk := in(sdk, o.Region)
		options := snsdispatch.Options{ARNPrefix: o.ARNPrefix}
		if s := schedules(sdk, o.Scheduler); s != nil {
			options.Scheduler = s
		}
		wired.Target, wired.Dispatcher = "sns", snsdispatch.New(sns.NewFromConfig(sdk), options)
	case *settings.LambdaOptions:
		sdk := in(sdk, o.Region)
		options := lambdadispatch.Options{}
		if s := schedules(sdk, o.Scheduler); s != nil {
			options.Scheduler = s
		}
		wired.Target, wired.Dispatcher = "lambda", lambdadispatch.New(lambda.NewFromConfig(sdk), options)
	}
	return wired
}

// in returns the configuration for a region, "" being the function's own.
func in(sdk aws.Config, region string) aws.Config {
	if region != "" {
		sdk.Region = region
	}
	return sdk
}

// schedules returns nil where no role is configured: the Scheduler is not used.
func schedules(sdk aws.Config, o settings.Scheduler) *schedulerdispatch.Scheduler {
	if o.RoleARN == "" {
		return nil
	}
	return schedulerdispatch.New(scheduler.NewFromConfig(sdk), schedulerdispatch.Options(o))
}
