// Package awsemu gives tests AWS clients, and test processes an environment, that talk to emulators.
package awsemu

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
)

// Region and Account are what the emulators believe to be in.
const (
	Region  = "us-east-1"
	Account = "000000000000"
)

// Config is a client configuration for one emulator at endpoint (a URL), with made-up credentials
// and the SDK's retries off, so that a test sees each fault once.
func Config(endpoint string) aws.Config {
	return aws.Config{
		Region:       Region,
		BaseEndpoint: aws.String(endpoint),
		HTTPClient:   awssdk.NewClient(),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
		}),
		Retryer: func() aws.Retryer { return aws.NopRetryer{} },
	}
}

// Environ is the environment of a process whose SDK is to talk to emulators: endpoints maps the
// SDK's service name ("SQS", "DYNAMODB") to a URL.
// https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
func Environ(endpoints map[string]string) []string {
	env := []string{
		"AWS_REGION=" + Region,
		"AWS_ACCESS_KEY_ID=test",
		"AWS_SECRET_ACCESS_KEY=test",
		"AWS_EC2_METADATA_DISABLED=true",
	}
	for service, url := range endpoints {
		env = append(env, "AWS_ENDPOINT_URL_"+strings.ToUpper(service)+"="+url)
	}
	return env
}

// ARN names a resource of the emulators' account, as "arn:aws:sqs:us-east-1:000000000000:tasks".
func ARN(service, resource string) string {
	return strings.Join([]string{"arn:aws", service, Region, Account, resource}, ":")
}
