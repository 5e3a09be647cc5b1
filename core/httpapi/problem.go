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

// The kinds of error that only HTTP can have; the others are those of package task.
const (
	InvalidJSON          task.Kind = "invalid-json"
	InvalidHeader        task.Kind = "invalid-header"
	InvalidQuery         task.Kind = "invalid-query"
	Forbidden            task.Kind = "forbidden"
	UnknownRoute         task.Kind = "unknown-route"
	MethodNotAllowed     task.Kind = "method-not-allowed"
	BodyTooLarge         task.Kind = "body-too-large"
	UnsupportedMediaType task.Kind = "unsupported-media-type"
	InvalidBatch         task.Kind = "invalid-batch"
)

// ProblemType is what every problem's type begins with; its code follows.
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

// A meaning is what a kind of error is in HTTP.
type meaning struct {
	status int
	title  string
}

// meanings is the one table from kinds to HTTP. A kind that is not here is a
// mistake of ours, and shown as internal: since something may have been sent,
// that is a 503 and never a 500.
var meanings = map[task.Kind]meaning{
	InvalidJSON:               {http.StatusBadRequest, "The body is not acceptable JSON"},
	InvalidHeader:             {http.StatusBadRequest, "A header is not valid"},
	InvalidQuery:              {http.StatusBadRequest, "A query parameter is not valid"},
	task.InvalidCursor:        {http.StatusBadRequest, "The cursor is not valid here"},
	task.Unauthenticated:      {http.StatusUnauthorized, "The credential is missing or not valid"},
	Forbidden:                 {http.StatusForbidden, "The credential does not allow this"},
	UnknownRoute:              {http.StatusNotFound, "There is nothing at this path"},
	task.UnknownTask:          {http.StatusNotFound, "There is no such task"},
	MethodNotAllowed:          {http.StatusMethodNotAllowed, "The path does not take this method"},
	task.InFlight:             {http.StatusConflict, "The same request is being worked on"},
	task.LeaseHeld:            {http.StatusConflict, "Another attempt holds the lease"},
	task.StaleAttempt:         {http.StatusConflict, "The attempt is not the running one"},
	task.CancelNotRequested:   {http.StatusConflict, "Nobody has asked to cancel"},
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
	task.UnknownBackend:       {http.StatusUnprocessableEntity, "There is no such backend"},
	task.UnknownQueue:         {http.StatusUnprocessableEntity, "The backend has no such queue"},
	task.PriorityUnsupported:  {http.StatusUnprocessableEntity, "The target has no priorities"},
	task.RunAfterUnsupported:  {http.StatusUnprocessableEntity, "The target cannot delay the task so"},
	task.GroupUnsupported:     {http.StatusUnprocessableEntity, "The target has no groups"},
	task.MaxAttemptsTooHigh:   {http.StatusUnprocessableEntity, "The target delivers less often"},
	task.IdempotencyKeyReused: {http.StatusUnprocessableEntity, "The key was used with another request"},
	task.MessageRejected:      {http.StatusUnprocessableEntity, "The target can never accept the message"},
	task.Unavailable:          {http.StatusServiceUnavailable, "The outcome is unknown, or refused for now"},
	task.Internal:             {http.StatusServiceUnavailable, "Something went wrong inside"},
}

// defaultRetry is what a 503 that knows no better asks the client to wait, in seconds.
const defaultRetry = 1

// What a problem repeats of a request is bounded: a body may be nothing but
// mistakes, each longer in the answer, and a front door that cannot carry an
// answer hides it. An item of a batch has less, so that a hundred of them fit
// beside tasks that were accepted.
const (
	maxErrors     = 64 << 10 // bytes of a problem's errors
	maxItemErrors = 4 << 10
	maxDetail     = 1 << 10
)

// problemOf renders an error, with so many bytes of its fields. Its cause stays
// inside.
func problemOf(e *task.Error, most int) Problem {
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
		Code: e.Kind, Errors: first(e.Fields, most), TaskID: e.TaskID,
	}
}

// first returns the errors that fit into so many bytes, and how many do not.
func first(all []strictjson.FieldError, most int) []strictjson.FieldError {
	for i, e := range all {
		most -= len(`{"pointer":"","detail":""},`) + len(e.Pointer) + len(e.Detail)
		if most < 0 {
			more := strictjson.FieldError{Detail: fmt.Sprintf("has %d more errors, for which there is no room here", len(all)-i)}
			return append(slices.Clone(all[:i]), more)
		}
	}
	return all
}

// retryAfter returns the Retry-After of an error in whole seconds, or "".
func retryAfter(e *task.Error, status int) string {
	switch {
	case e.RetryAfter > 0:
		return strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds())))
	case status == http.StatusServiceUnavailable:
		return strconv.Itoa(defaultRetry)
	}
	return ""
}
