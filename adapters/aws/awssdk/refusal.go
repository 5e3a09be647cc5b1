package awssdk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"

	"github.com/taskgate/taskgate/core/task"
)

// ThrottledFor is when it is worth trying again after a throttled call: the
// services that throttle mostly do not say.
const ThrottledFor = time.Second

// Unavailable says what an error of the SDK means that is nothing special to
// the service: who is "the store" or "the queue mail", as a client may know it.
// Nothing that the service wrote is in the message.
// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
func Unavailable(err error, who string) *task.Error {
	e := &task.Error{Kind: task.Unavailable, Err: err}
	switch code, status := Code(err), status(err); {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		e.Msg = who + " did not answer in time"
	case code == "" && status == 0:
		e.Msg = who + " cannot be reached"
	case code == "" && status < 300:
		e.Msg = who + " gave an answer that cannot be read"
	case Throttled(err):
		e.Msg, e.RetryAfter = who+" is busy", ThrottledFor
	case Denied(err):
		e.Msg = who + " does not let this service in"
	case status >= 500:
		e.Msg = who + " cannot serve the request now"
	default:
		e.Msg = fmt.Sprintf("%s refuses the request for now (status %d)", who, status)
	}
	return e
}

// Code returns the service's own name for the error, or "".
func Code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func status(err error) int {
	var answer interface{ HTTPStatusCode() int }
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

// Throttled reports whether the service has too much to do.
func Throttled(err error) bool {
	code := Code(err)
	_, known := retry.DefaultThrottleErrorCodes[code]
	return known || status(err) == http.StatusTooManyRequests ||
		slices.Contains([]string{"Throttled", "ThrottledException", "KmsThrottled", "KMSThrottling", "KMSThrottlingException", "OverLimit"}, code)
}

// Denied reports whether the service does not take the credentials, or does not
// permit them the call.
func Denied(err error) bool {
	code := Code(err)
	return strings.Contains(code, "AccessDenied") || strings.HasPrefix(code, "AuthorizationError") || slices.Contains([]string{
		"ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId", "UnrecognizedClientException",
		"InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken",
		"MissingAuthenticationTokenException", "NotAuthorized", "InvalidSecurity", "OptInRequired",
	}, code) || status(err) == http.StatusUnauthorized || code == "" && status(err) == http.StatusForbidden
}
