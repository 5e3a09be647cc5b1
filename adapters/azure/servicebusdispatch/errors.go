package servicebusdispatch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/go-amqp"

	"github.com/taskgate/taskgate/core/task"
)

// Conditions of Service Bus beside AMQP's own.
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-troubleshoot
const (
	condServerBusy     amqp.ErrCond = "com.microsoft:server-busy"
	condEntityDisabled amqp.ErrCond = "com.microsoft:entity-disabled"
)

// busyTime is how long Service Bus asks throttled clients to wait.
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-throttling
const busyTime = 10 * time.Second

// translate turns an error of the SDK, for a message to that entity, into a
// [task.Error].
func translate(err error, entity string) error {
	if err == nil {
		return nil
	}
	e := &task.Error{Kind: task.Unavailable, Err: fmt.Errorf("servicebusdispatch: %s: %w", entity, err)}
	cond, status := condition(err), rpcStatus(err)
	switch {
	case errors.Is(err, azservicebus.ErrMessageTooLarge), cond == amqp.ErrCondMessageSizeExceeded:
		e.Kind, e.Msg = task.MessageTooLarge, "the message with its attributes is larger than Service Bus takes"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.Msg = "Service Bus did not answer in time: whether it has the message is unknown"
	case code(err) == azservicebus.CodeNotFound, cond == amqp.ErrCondNotFound:
		e.Msg = fmt.Sprintf("Service Bus has no queue or topic %s", entity)
	case code(err) == azservicebus.CodeUnauthorizedAccess, cond == amqp.ErrCondUnauthorizedAccess:
		e.Msg = fmt.Sprintf("Service Bus does not let this service send to %s", entity)
	case cond == amqp.ErrCondResourceLimitExceeded, status == http.StatusForbidden:
		e.Msg = fmt.Sprintf("%s is full", entity)
	case cond == condServerBusy, status == http.StatusServiceUnavailable, status == http.StatusTooManyRequests:
		e.Msg, e.RetryAfter = "Service Bus is busy", busyTime
	case cond == condEntityDisabled:
		e.Msg = fmt.Sprintf("%s is disabled", entity)
	case cond == amqp.ErrCondNotAllowed, status == http.StatusBadRequest:
		e.Msg = fmt.Sprintf("%s does not take this message: does it require sessions?", entity)
	default:
		e.Msg = "Service Bus cannot be reached: whether it has the message is unknown"
	}
	return e
}

// dead reports whether the error ends its link. The SDK does not replace a link
// whose authorisation has lapsed, or whose entity was deleted and created again.
func dead(err error) bool {
	switch code(err) {
	case azservicebus.CodeUnauthorizedAccess, azservicebus.CodeNotFound, azservicebus.CodeClosed:
		return true
	}
	var link *amqp.LinkError
	var session *amqp.SessionError
	var conn *amqp.ConnError
	return errors.As(err, &link) || errors.As(err, &session) || errors.As(err, &conn)
}

// code returns the SDK's code of the error, or "".
func code(err error) azservicebus.Code {
	var e *azservicebus.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// condition returns the service's AMQP condition of the error, or "".
func condition(err error) amqp.ErrCond {
	var e *amqp.Error
	if errors.As(err, &e) {
		return e.Condition
	}
	return ""
}

// rpcStatus returns the status of a request (scheduling, cancelling) that was
// refused, or 0. The SDK shows it by this method alone.
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-request-response
func rpcStatus(err error) int {
	var e interface {
		error
		RPCCode() int
	}
	if errors.As(err, &e) {
		return e.RPCCode()
	}
	return 0
}
