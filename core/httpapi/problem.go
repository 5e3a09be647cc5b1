package httpapi

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/taskgate/taskgate/core/strictjson"
	"github.com/taskgate/taskgate/core/task"
)

// The kinds of error that only the HTTP API has; package task has the others.
const (
	InvalidJSON          task.Kind = "invalid-json"
	InvalidHeader        task.Kind = "invalid-header"
	InvalidQuery         task.Kind = "invalid-query"
	Forbidden            task.Kind = "forbidden"
	ForeignOrigin        task.Kind = "foreign-origin"
	UnknownRoute         task.Kind = "unknown-route"
	MethodNotAllowed     task.Kind = "method-not-allowed"
	BodyTooLarge         task.Kind = "body-too-large"
	UnsupportedMediaType task.Kind = "unsupported-media-type"
	InvalidBatch         task.Kind = "invalid-batch"
)

// ProblemType is the start of a problem's type. The problem's code follows.
const ProblemType = "urn:taskgate:problem:"

// Problem is the body of every error: RFC 9457, application/problem+json.
type Problem struct {
	Type        string                  `json:"type"`
	Title       string                  `json:"title"`
	Status      int                     `json:"status"`
	Detail      string                  `json:"detail"`
	Code        task.Kind               `json:"code"`
	Errors      []strictjson.FieldError `json:"errors,omitempty"`
	TaskID      string                  `json:"task_id,omitzero"`
	Acknowledge *bool                   `json:"acknowledge,omitempty"` // on events only
}

// A meaning is the HTTP status and the problem title of a kind of error.
type meaning struct {
	status int
	title  string
}

// meanings maps each kind of error to its HTTP status and title. A kind that is
// missing here is a defect of the service; the client sees Internal instead.
// Internal is a 503 and not a 500, because a message may have been sent.
var meanings = map[task.Kind]meaning{
	InvalidJSON:               {http.StatusBadRequest, "The body is not valid JSON"},
	InvalidHeader:             {http.StatusBadRequest, "A header is not valid"},
	InvalidQuery:              {http.StatusBadRequest, "A query parameter is not valid"},
	task.InvalidCursor:        {http.StatusBadRequest, "The cursor is not valid here"},
	task.Unauthenticated:      {http.StatusUnauthorized, "The credential is missing or not valid"},
	Forbidden:                 {http.StatusForbidden, "The credential does not allow this"},
	ForeignOrigin:             {http.StatusForbidden, "The request comes from another origin"},
	UnknownRoute:              {http.StatusNotFound, "The service has nothing at this path"},
	task.UnknownTask:          {http.StatusNotFound, "The task does not exist"},
	MethodNotAllowed:          {http.StatusMethodNotAllowed, "The path does not take this method"},
	task.InFlight:             {http.StatusConflict, "An earlier request with this key is still in progress"},
	task.IDTaken:              {http.StatusConflict, "Another caller's task has this id"},
	task.LeaseHeld:            {http.StatusConflict, "Another attempt holds the lease"},
	task.StaleAttempt:         {http.StatusConflict, "The attempt is not the current one"},
	task.CancelNotRequested:   {http.StatusConflict, "No cancel was requested"},
	task.Finished:             {http.StatusGone, "The task has finished"},
	task.Cancelled:            {http.StatusGone, "The task was cancelled"},
	task.Expired:              {http.StatusGone, "The task has expired"},
	BodyTooLarge:              {http.StatusRequestEntityTooLarge, "The body is too large"},
	task.PayloadTooLarge:      {http.StatusRequestEntityTooLarge, "The payload is too large for the store"},
	task.MessageTooLarge:      {http.StatusRequestEntityTooLarge, "The message is too large for the target"},
	task.ResultTooLarge:       {http.StatusRequestEntityTooLarge, "The result is too large for the store"},
	UnsupportedMediaType:      {http.StatusUnsupportedMediaType, "The body must be application/json"},
	task.InvalidTask:          {http.StatusUnprocessableEntity, "The task is not valid"},
	InvalidBatch:              {http.StatusUnprocessableEntity, "The batch is not valid"},
	task.InvalidEvent:         {http.StatusUnprocessableEntity, "The event is not valid"},
	task.UnknownBackend:       {http.StatusUnprocessableEntity, "The backend does not exist"},
	task.UnknownQueue:         {http.StatusUnprocessableEntity, "The backend does not have this queue"},
	task.PriorityUnsupported:  {http.StatusUnprocessableEntity, "The target has no priorities"},
	task.RunAfterUnsupported:  {http.StatusUnprocessableEntity, "The target cannot delay the task like this"},
	task.ReceiveUnsupported:   {http.StatusUnprocessableEntity, "Workers cannot fetch messages here"},
	task.InvalidReceive:       {http.StatusUnprocessableEntity, "The request for messages is not valid"},
	task.GroupUnsupported:     {http.StatusUnprocessableEntity, "The target has no groups"},
	task.MaxAttemptsTooHigh:   {http.StatusUnprocessableEntity, "The target delivers a message fewer times"},
	task.IdempotencyKeyReused: {http.StatusUnprocessableEntity, "The key was used with another request"},
	task.MessageRejected:      {http.StatusUnprocessableEntity, "The target can never accept the message"},
	task.Unavailable:          {http.StatusServiceUnavailable, "The outcome is unknown, or the service refuses for now"},
	task.Internal:             {http.StatusServiceUnavailable, "The service has failed"},
}

// defaultRetry is the Retry-After of a 503 whose error has none, in seconds.
const defaultRetry = 1

// The maximum sizes of a problem's members, in bytes. A body can have very many
// mistakes, and a mistake needs more bytes in the answer than in the body. A
// platform drops an answer that is too large. The problem of a batch item is
// smaller, so that an answer has room for a hundred of them.
const (
	maxErrors     = 64 << 10 // the errors of a problem
	maxItemErrors = 4 << 10  // the errors of a batch item's problem
	maxDetail     = 1 << 10  // the detail
)

// problemOf returns the problem of an error, with at most maxBytes of field errors.
// It does not show the error's cause to the client.
func problemOf(e *task.Error, maxBytes int) Problem {
	m, known := meanings[e.Kind]
	if !known {
		e = &task.Error{Kind: task.Internal, TaskID: e.TaskID}
		m = meanings[task.Internal]
	}
	detail := e.Msg
	if detail == "" {
		detail = m.title
	}
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "") + " …"
	}
	return Problem{
		Type: ProblemType + string(e.Kind), Title: m.title, Status: m.status, Detail: detail,
		Code: e.Kind, Errors: first(e.Fields, maxBytes), TaskID: e.TaskID,
	}
}

// first returns the errors that fit into maxBytes. If some do not fit, it adds an
// error that says how many.
func first(all []strictjson.FieldError, maxBytes int) []strictjson.FieldError {
	for i, e := range all {
		maxBytes -= len(`{"pointer":"","detail":""},`) + len(e.Pointer) + len(e.Detail)
		if maxBytes < 0 {
			more := strictjson.FieldError{Detail: fmt.Sprintf("has %d more errors, which do not fit here", len(all)-i)}
			return append(slices.Clone(all[:i]), more)
		}
	}
	return all
}

// retryAfter returns the value of Retry-After for an error in whole seconds; "" = none.
func retryAfter(e *task.Error, status int) string {
	switch {
	case e.RetryAfter > 0:
		return strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds())))
	case status == http.StatusServiceUnavailable:
		return strconv.Itoa(defaultRetry)
	}
	return ""
}
