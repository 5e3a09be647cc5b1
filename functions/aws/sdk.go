package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
)

// loadSDK returns the configuration of all clients. It reads what Lambda puts into a
// function's environment: the region and the credentials of the role. The SDK's own
// loader also looks for profiles, SSO and instances, which a function does not have;
// linking all that made the start a fifth longer (bench/aws).
// https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
func loadSDK(environ []string) (aws.Config, error) {
	env := environment{}
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			env[name] = value
		}
	}
	sdk := aws.Config{Region: env["AWS_REGION"], ConfigSources: []any{env}}
	if endpoint := env["AWS_ENDPOINT_URL"]; endpoint != "" {
		sdk.BaseEndpoint = &endpoint
	}
	switch key, from := env["AWS_ACCESS_KEY_ID"], env["AWS_CONTAINER_CREDENTIALS_FULL_URI"]; {
	case sdk.Region == "":
		return sdk, errors.New("AWS_REGION is required; Lambda sets it")
	case key != "":
		sdk.Credentials = credentials.NewStaticCredentialsProvider(key, env["AWS_SECRET_ACCESS_KEY"], env["AWS_SESSION_TOKEN"])
	case from != "": // where an execution environment outlives its first credentials
		// https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
		sdk.Credentials = aws.NewCredentialsCache(endpointcreds.New(from, func(o *endpointcreds.Options) {
			o.HTTPClient = awssdk.NewClient()
			o.AuthorizationToken = env["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
			if file := env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]; file != "" {
				o.AuthorizationTokenProvider = endpointcreds.TokenProviderFunc(func() (string, error) {
					token, err := os.ReadFile(file)
					return strings.TrimSpace(string(token)), err
				})
			}
		}))
	default:
		return sdk, errors.New("AWS_ACCESS_KEY_ID or AWS_CONTAINER_CREDENTIALS_FULL_URI is required; Lambda sets one of them")
	}
	return sdk, nil
}

// environment answers what the SDK's clients ask for, by these methods.
// https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
type environment map[string]string

// GetServiceBaseEndpoint returns AWS_ENDPOINT_URL_<SERVICE>.
func (e environment) GetServiceBaseEndpoint(_ context.Context, service string) (string, bool, error) {
	v, ok := e["AWS_ENDPOINT_URL_"+strings.ToUpper(strings.ReplaceAll(service, " ", "_"))]
	return v, ok && v != "", nil
}

// GetUseFIPSEndpoint returns AWS_USE_FIPS_ENDPOINT.
func (e environment) GetUseFIPSEndpoint(context.Context) (aws.FIPSEndpointState, bool, error) {
	if e["AWS_USE_FIPS_ENDPOINT"] == "true" {
		return aws.FIPSEndpointStateEnabled, true, nil
	}
	return aws.FIPSEndpointStateUnset, false, nil
}

// GetUseDualStackEndpoint returns AWS_USE_DUALSTACK_ENDPOINT.
func (e environment) GetUseDualStackEndpoint(context.Context) (aws.DualStackEndpointState, bool, error) {
	if e["AWS_USE_DUALSTACK_ENDPOINT"] == "true" {
		return aws.DualStackEndpointStateEnabled, true, nil
	}
	return aws.DualStackEndpointStateUnset, false, nil
}
