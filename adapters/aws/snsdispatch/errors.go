package snsdispatch

import (
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/taskgate/taskgate/adapters/aws/awssdk"
	"github.com/taskgate/taskgate/core/task"
)

func missing(err error) bool {
	var notFound *types.NotFoundException
	return errors.As(err, &notFound)
}

// translate says what an error of the SDK means for a message to that topic.
// https://docs.aws.amazon.com/sns/latest/api/API_Publish.html#API_Publish_Errors
func translate(err error, name string) error {
	if err == nil {
		return nil
	}
	e := awssdk.Unavailable(err, "the topic "+name)
	e.Err = fmt.Errorf("snsdispatch: %s: %w", name, err)
	var tooLong *types.BatchRequestTooLongException
	switch {
	case missing(err):
		e.Msg = fmt.Sprintf("there is no topic %s", name)
	case errors.As(err, &tooLong):
		e.Kind, e.Msg = task.MessageTooLarge, "the message is larger than the topic takes"
	default:
		e.Kind, e.Msg = refusal(awssdk.Code(err), e.Kind, e.Msg)
	}
	return e
}

// failedEntry says what a refused entry of a batch means. Only codes that are
// certainly about the message are final: a "sender fault" may also be a missing
// permission. https://docs.aws.amazon.com/sns/latest/api/API_BatchResultErrorEntry.html
func failedEntry(f types.BatchResultErrorEntry, name string) error {
	e := &task.Error{
		Kind: task.Unavailable, Msg: fmt.Sprintf("the topic %s refuses the message for now", name),
		Err: fmt.Errorf("snsdispatch: %s: %s: %s", name, aws.ToString(f.Code), aws.ToString(f.Message)),
	}
	e.Kind, e.Msg = refusal(aws.ToString(f.Code), e.Kind, e.Msg)
	return e
}

// refusal returns the kind and the text for a code that is about the message
// itself, which would be refused again. For others it returns fallback and msg. A
// topic whose size limit was lowered calls the length an invalid parameter.
func refusal(code string, fallback task.Kind, msg string) (task.Kind, string) {
	switch code {
	case "InvalidParameter", "InvalidParameterValue", "ParameterValueInvalid":
		return task.MessageRejected, "the topic does not take this message: a character, an attribute, the group or its size"
	}
	return fallback, msg
}
