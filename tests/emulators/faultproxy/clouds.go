package faultproxy

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// AWSError answers as an AWS service does, in the protocol of the request: JSON for SQS, DynamoDB,
// Scheduler and Lambda, XML for SNS. The request was not applied.
// https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html#operation-error-serialization
// https://smithy.io/2.0/aws/protocols/aws-query-protocol.html#operation-error-serialization
func AWSError(status int, code, message string) Fault {
	return func(x *Exchange) {
		const request = "00000000-0000-0000-0000-000000000000"
		header := http.Header{"X-Amzn-Requestid": {request}}
		if strings.HasPrefix(x.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
			header.Set("Content-Type", "text/xml")
			kind := "Sender"
			if status >= 500 {
				kind = "Receiver"
			}
			x.Answer(&Answer{status, header, fmt.Appendf(nil,
				"<ErrorResponse><Error><Type>%s</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>",
				kind, code, message, request)})
			return
		}
		header.Set("Content-Type", "application/x-amz-json-1.0")
		header.Set("X-Amzn-Errortype", code)
		body, _ := json.Marshal(map[string]string{"__type": code, "message": message})
		x.Answer(&Answer{status, header, body})
	}
}

// AWSThrottled refuses with the throttling error of the service that is asked. The request was not
// applied. Sources, in the order below:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
// https://docs.aws.amazon.com/sns/latest/api/CommonErrors.html (Publish has no throttling error of its own)
// https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
// https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html
func AWSThrottled(x *Exchange) {
	target := x.Header.Get("X-Amz-Target")
	switch {
	case strings.HasPrefix(target, "DynamoDB"):
		AWSError(400, "ProvisionedThroughputExceededException", "The level of configured provisioned throughput for the table was exceeded.")(x)
	case strings.HasPrefix(target, "AmazonSQS"):
		AWSError(400, "RequestThrottled", "The request was denied due to request throttling.")(x)
	case x.Operation != "":
		AWSError(400, "Throttling", "Rate exceeded")(x)
	case strings.Contains(x.Path, "/functions/"):
		AWSError(429, "TooManyRequestsException", "Rate Exceeded.")(x)
	default:
		AWSError(429, "ThrottlingException", "Rate exceeded")(x)
	}
}

// AWSUnavailable is an AWS 503. AWS does not say whether such a request was applied; here it was not.
func AWSUnavailable(x *Exchange) {
	AWSError(503, "ServiceUnavailable", "Service is unavailable. Please try again.")(x)
}

// AWSExpired refuses the credentials as expired. The request was not applied.
// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
func AWSExpired(x *Exchange) {
	AWSError(403, "ExpiredTokenException", "The security token included in the request is expired")(x)
}

// AWSDenied refuses for want of permission. The request was not applied.
func AWSDenied(x *Exchange) {
	AWSError(403, "AccessDeniedException", "User is not authorized to perform this action")(x)
}

// StorageError answers as Azure Storage does. The request was not applied.
// https://learn.microsoft.com/rest/api/storageservices/status-and-error-codes2
func StorageError(status int, code string) Fault {
	return Status(status, `<?xml version="1.0" encoding="utf-8"?><Error><Code>`+code+`</Code><Message>`+code+`</Message></Error>`,
		"Content-Type", "application/xml", "X-Ms-Error-Code", code)
}

// StorageThrottled is how Azure Storage refuses for now: 503 ServerBusy. The request was not applied.
// https://learn.microsoft.com/azure/storage/queues/scalability-targets
func StorageThrottled(x *Exchange) { StorageError(503, "ServerBusy")(x) }

// CosmosThrottled refuses for want of request units, and says when to come back. The request was not
// applied. https://learn.microsoft.com/rest/api/cosmos-db/http-status-codes-for-cosmosdb
func CosmosThrottled(after time.Duration) Fault {
	return Status(429, `{"code":"429","message":"Request rate is large. More Request Units may be needed, so no changes were made."}`,
		"Content-Type", "application/json", "X-Ms-Retry-After-Ms", strconv.FormatInt(after.Milliseconds(), 10), "X-Ms-Substatus", "3200")
}

// AzureUnauthorized refuses the credentials, as an expired Entra token is refused. The request was
// not applied.
func AzureUnauthorized(x *Exchange) {
	Status(401, `{"code":"Unauthorized","message":"The input authorization token can't serve the request."}`,
		"Content-Type", "application/json", "X-Ms-Error-Code", "InvalidAuthenticationInfo",
		"WWW-Authenticate", "Bearer authorization_uri=https://login.microsoftonline.com/x, error=invalid_token")(x)
}
