package faultproxy_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/awsemu"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
	"github.com/taskgate/taskgate/tests/emulators/faultproxy"
)

// nowhere is a proxy whose upstream must not be asked.
func nowhere(t *testing.T, fault faultproxy.Fault) *faultproxy.Proxy {
	t.Helper()
	t.Parallel()
	p := faultproxy.New(t, "http://127.0.0.1:1")
	p.Always(faultproxy.Any, fault)
	return p
}

func TestTheSDKsKnowEachServicesThrottling(t *testing.T) {
	p := nowhere(t, faultproxy.AWSThrottled)
	cfg, ctx := awsemu.Config(p.URL()), t.Context()

	_, err := dynamodb.NewFromConfig(cfg).ListTables(ctx, &dynamodb.ListTablesInput{})
	if throttled := (*ddb.ProvisionedThroughputExceededException)(nil); !errors.As(err, &throttled) {
		t.Errorf("DynamoDB: %v", err)
	}
	_, err = sqs.NewFromConfig(cfg).SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: aws.String(p.URL() + "/q"), MessageBody: aws.String("x")})
	if code := errorCode(err); code != "RequestThrottled" {
		t.Errorf("SQS: %q, %v", code, err)
	}
	_, err = sns.NewFromConfig(cfg).Publish(ctx, &sns.PublishInput{TopicArn: aws.String("arn"), Message: aws.String("x")})
	if code := errorCode(err); code != "Throttling" {
		t.Errorf("SNS: %q, %v", code, err)
	}
	_, err = lambda.NewFromConfig(cfg).Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("f")})
	if throttled := (*lambdatypes.TooManyRequestsException)(nil); !errors.As(err, &throttled) {
		t.Errorf("Lambda: %v", err)
	}
	_, err = scheduler.NewFromConfig(cfg).GetSchedule(ctx, &scheduler.GetScheduleInput{Name: aws.String("s")})
	if throttled := (*schedulertypes.ThrottlingException)(nil); !errors.As(err, &throttled) {
		t.Errorf("Scheduler: %v", err)
	}
}

func errorCode(err error) string {
	if api := smithy.APIError(nil); errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func TestTheSDKSeesExpiredCredentialsDenialsAndOutages(t *testing.T) {
	t.Parallel()
	for want, fault := range map[string]faultproxy.Fault{
		"ExpiredTokenException": faultproxy.AWSExpired,
		"AccessDeniedException": faultproxy.AWSDenied,
		"ServiceUnavailable":    faultproxy.AWSUnavailable,
	} {
		t.Run(want, func(t *testing.T) {
			p := nowhere(t, fault)
			cfg := awsemu.Config(p.URL())
			_, json := sqs.NewFromConfig(cfg).ListQueues(t.Context(), &sqs.ListQueuesInput{})
			_, xml := sns.NewFromConfig(cfg).ListTopics(t.Context(), &sns.ListTopicsInput{})
			for _, err := range []error{json, xml} {
				if errorCode(err) != want {
					t.Errorf("%q, %v", errorCode(err), err)
				}
			}
		})
	}
}

// once is Azure's client options with retries off.
var once = policy.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}}

func TestTheSDKKnowsAStorageQueuesThrottling(t *testing.T) {
	p := nowhere(t, faultproxy.StorageThrottled)
	q, err := azqueue.NewQueueClientFromConnectionString(azureemu.StorageConnectionString(p.Addr()), "q", &azqueue.ClientOptions{ClientOptions: once})
	if err != nil {
		t.Fatal(err)
	}
	_, err = q.EnqueueMessage(t.Context(), "eA==", nil)
	if refused := (*azcore.ResponseError)(nil); !errors.As(err, &refused) || refused.ErrorCode != "ServerBusy" || refused.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%v, want ServerBusy", err)
	}
}

func TestTheSDKKnowsCosmosThrottlingAndExpiredTokens(t *testing.T) {
	for want, fault := range map[int]faultproxy.Fault{
		http.StatusTooManyRequests: faultproxy.CosmosThrottled(time.Millisecond),
		http.StatusUnauthorized:    faultproxy.AzureUnauthorized,
	} {
		t.Run(http.StatusText(want), func(t *testing.T) {
			p := nowhere(t, fault)
			client, err := azcosmos.NewClientFromConnectionString(azureemu.CosmosConnectionString(p.URL()), &azcosmos.ClientOptions{ClientOptions: once})
			if err != nil {
				t.Fatal(err)
			}
			c, err := client.NewContainer("taskgate", "tasks")
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.ReadItem(t.Context(), azcosmos.NewPartitionKeyString("1"), "1", nil)
			if refused := (*azcore.ResponseError)(nil); !errors.As(err, &refused) || refused.StatusCode != want {
				t.Errorf("%v, want %d", err, want)
			}
		})
	}
}

func TestACosmosWriteWhoseAnswerIsLostWasApplied(t *testing.T) {
	t.Parallel()
	p := faultproxy.New(t, emulators.Cosmos(t).URL())
	c := azureemu.CosmosContainer(t, p.URL(), "/pk")
	p.Always(faultproxy.Route(http.MethodPost, "/docs"), faultproxy.ResetAfter)
	pk, ctx := azcosmos.NewPartitionKeyString("7"), t.Context()
	if _, err := c.CreateItem(ctx, pk, []byte(`{"id":"1","pk":"7"}`), nil); err == nil {
		t.Error("a reset went unnoticed")
	}
	if _, err := c.ReadItem(ctx, pk, "1", nil); err != nil {
		t.Errorf("the write was not applied: %v", err)
	}
}
