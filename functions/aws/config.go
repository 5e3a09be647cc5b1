package main

import (
	"net/url"

	"github.com/taskgate/taskgate/adapters/aws/lambdadispatch"
	"github.com/taskgate/taskgate/adapters/aws/snsdispatch"
	"github.com/taskgate/taskgate/adapters/aws/sqsdispatch"
	"github.com/taskgate/taskgate/functions/settings"
)

// config is what the function reads from its environment. The SDK itself reads
// where the AWS services are: AWS_REGION, AWS_ENDPOINT_URL_<SERVICE>.
type config struct {
	settings.Service
	table string // the DynamoDB table
}

// readConfig reads the environment, and reports all its mistakes together.
func readConfig(environ []string) (config, error) {
	env := settings.NewEnv(environ)
	c := config{
		Service: env.Service(settings.Main{
			Name: "functions/aws",
			Serves: map[settings.Kind]settings.CheckQueue{
				settings.SQSBackend:                   sqsdispatch.CheckName,
				settings.EventBridgeSchedulerBackend:  sqsdispatch.CheckName,
				settings.SNSTopicBackend:              snsdispatch.CheckName,
				settings.LambdaAsyncInvocationBackend: lambdadispatch.CheckName,
			},
			Auth:   []settings.Auth{settings.AuthKeys, settings.AuthPlatform},
			Region: env.String("AWS_REGION", ""),
		}),
		table: env.Required("TASKGATE_TABLE"),
	}
	return c, env.Err()
}

// basePath is the path of the public URL, which a custom domain's mapping
// leaves in front of every request's own.
func (c config) basePath() string {
	u, err := url.Parse(c.PublicURL) // checked by settings
	if err != nil {
		return ""
	}
	return u.Path
}
