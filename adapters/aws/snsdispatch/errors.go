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

// failedEntry says what a refused entry of a batch means. Only the codes that
// are known to be the message's own fault are final: a sender's fault may be its
// rights. https://docs.aws.amazon.com/sns/latest/api/API_BatchResultErrorEntry.html
func failedEntry(f types.BatchResultErrorEntry, name string) error {
	e := &task.Error{
		Kind: task.Unavailable, Msg: fmt.Sprintf("the topic %s refuses the message for now", name),
		Err: fmt.Errorf("snsdispatch: %s: %s: %s", name, aws.ToString(f.Code), aws.ToString(f.Message)),
	}
	e.Kind, e.Msg = refusal(aws.ToString(f.Code), e.Kind, e.Msg)
	return e
}

// refusal says which codes are a message's own fault, whose repetition would be
// refused again. A topic that takes less than is known of it says that the
// message's length is an invalid parameter.
func refusal(code string, otherwise task.Kind, msg string) (task.Kind, string) {
	switch code {
	case "InvalidParameter", "InvalidParameterValue", "ParameterValueInvalid":
		return task.MessageRejected, "the topic does not take this message: a character, an attribute, the group or its size"
	}
	return otherwise, msg
}
