package cosmosstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/taskgate/taskgate/core/task"
)

// translate turns an error of the SDK into a [task.Error]. Its callers have
// handled the statuses that are answers: missing, exists already, changed.
// https://learn.microsoft.com/rest/api/cosmos-db/http-status-codes-for-cosmosdb
func translate(err error, op, id string) error {
	if err == nil {
		return nil
	}
	e := &task.Error{Kind: task.Unavailable, TaskID: id, Err: fmt.Errorf("cosmosstore: %s %s: %w", op, id, err)}
	switch code := status(err); code {
	case 0:
		e.Msg = "the store cannot be reached"
		if timedOut(err) {
			e.Msg = "the store did not answer in time"
		}
	case http.StatusRequestEntityTooLarge:
		e.Kind, e.Msg = task.Oversize, "the record is larger than the store holds"
	case http.StatusTooManyRequests:
		e.Msg, e.RetryAfter = "the store is busy", retryAfter(err)
	case http.StatusRequestTimeout, http.StatusServiceUnavailable, statusRetryWith:
		e.Msg, e.RetryAfter = "the store cannot serve the request now", retryAfter(err)
	case http.StatusNotFound:
		e.Msg = "the store cannot find its container, or has not caught up"
	case http.StatusUnauthorized, http.StatusForbidden:
		e.Msg = "the store does not let this service in"
	default:
		e.Msg = fmt.Sprintf("the store refuses the request for now (status %d)", code)
	}
	return e
}

// status returns the status of the service's answer; 0 = there was none.
func status(err error) int {
	var answer *azcore.ResponseError
	if errors.As(err, &answer) {
		return answer.StatusCode
	}
	return 0
}

// subStatusHeader refines a status.
const subStatusHeader = "X-Ms-Substatus"

// missing reports whether the service has said that the item is not there. It
// answers 404 to other questions too, with a sub-status: 1002 when a replica has
// not caught up, 1003 when the container or the database is missing. Then nothing
// is known of the item.
// https://learn.microsoft.com/rest/api/cosmos-db/http-status-codes-for-cosmosdb
func missing(err error) bool {
	var answer *azcore.ResponseError
	if !errors.As(err, &answer) || answer.StatusCode != http.StatusNotFound {
		return false
	}
	if answer.RawResponse == nil {
		return true
	}
	sub := answer.RawResponse.Header.Get(subStatusHeader)
	return sub == "" || sub == "0"
}

// ofItem reports whether the error is an answer about the item.
func ofItem(err error) bool {
	switch status(err) {
	case http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed, http.StatusRequestEntityTooLarge:
		return true
	}
	return false
}

// timedOut reports whether the caller's time, or the call's own, has run out.
func timedOut(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// broken reports whether a connection has ended without an answer. A connection
// that could not be made is not broken: the SDK has tried that again already.
func broken(err error) bool {
	var dial *net.OpError
	return status(err) == 0 && !(errors.As(err, &dial) && dial.Op == "dial")
}

// retryAfter reads how long the service asks to wait, 0 when it does not say.
func retryAfter(err error) time.Duration {
	var answer *azcore.ResponseError
	if !errors.As(err, &answer) || answer.RawResponse == nil {
		return 0
	}
	ms, err := strconv.ParseInt(answer.RawResponse.Header.Get("X-Ms-Retry-After-Ms"), 10, 64)
	if err != nil || ms < 0 {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}
