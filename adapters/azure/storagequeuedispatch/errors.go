package storagequeuedispatch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2/queueerror"

	"github.com/taskgate/taskgate/core/task"
)

// translate turns an error of the SDK, for a message to that queue, into a
// [task.Error].
// https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes
func translate(err error, queue string) error {
	if err == nil {
		return nil
	}
	e := &task.Error{Kind: task.Unavailable, Err: fmt.Errorf("storagequeuedispatch: %s: %w", queue, err)}
	var answer *azcore.ResponseError
	if errors.As(err, &answer) {
		e.RetryAfter = retryAfter(answer.RawResponse)
	} else {
		answer = &azcore.ResponseError{}
	}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.Msg = "the queue service did not answer in time: whether it has the message is unknown"
	case answer.StatusCode == 0:
		e.Msg = "the queue service cannot be reached: whether it has the message is unknown"
	case queueerror.HasCode(err, queueerror.MessageTooLarge), answer.StatusCode == http.StatusRequestEntityTooLarge:
		e.Kind, e.Msg = task.MessageTooLarge, "the message is larger than a Storage queue takes"
	case queueerror.HasCode(err, queueerror.QueueBeingDeleted, queueerror.InvalidResourceName, queueerror.OutOfRangeInput),
		answer.StatusCode == http.StatusNotFound:
		e.Msg = fmt.Sprintf("the storage account has no queue %s", queue)
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		e.Msg = fmt.Sprintf("the storage account does not let this service send to %s", queue)
	case answer.StatusCode == http.StatusServiceUnavailable, answer.StatusCode == http.StatusTooManyRequests:
		e.Msg = "the queue service is busy"
	default:
		e.Msg = fmt.Sprintf("the queue service refuses the message for now (status %d)", answer.StatusCode)
	}
	return e
}

// retryAfter reads the header Retry-After in seconds, 0 when there is none.
func retryAfter(r *http.Response) time.Duration {
	if r == nil {
		return 0
	}
	seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// gone reports whether a message that was to be deleted is not there, or has
// been taken by a worker, which changes its receipt.
func gone(err error) bool {
	var answer *azcore.ResponseError
	return queueerror.HasCode(err, queueerror.PopReceiptMismatch) || errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}
