package settings

import (
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
)

// text decodes a string that may be null or empty, which is as good as absent.
func text(to *string) strictjson.Field { return upTo(to, maxText) }

// queueName is text that names a queue, topic or function, as requests do.
func queueName(to *string) strictjson.Field { return upTo(to, maxName) }

func upTo(to *string, most int) strictjson.Field {
	return strictjson.Nullable(func(at string, v jsontext.Value) []strictjson.FieldError {
		if string(v) == `""` {
			return nil
		}
		return strictjson.Name(to, most)(at, v)
	})
}

// secret is text that is never shown.
func secret(to *Secret) strictjson.Field { return text((*string)(to)) }

// boolean decodes true, false or null: the text "true" is a mistake, since
// Python would take "false" for true.
func boolean(to *bool) strictjson.Field { return strictjson.Nullable(strictjson.Bool(to)) }

// queues decodes QUEUES. Like Django's, it is a set: repeats are dropped.
func queues(to *[]string) strictjson.Field {
	return func(at string, v jsontext.Value) []strictjson.FieldError {
		var all []string
		errs := strictjson.Array(func(int) strictjson.Field {
			return func(at string, v jsontext.Value) []strictjson.FieldError {
				var queue string
				errs := strictjson.Name(&queue, maxName)(at, v)
				if errs == nil && !slices.Contains(all, queue) {
					all = append(all, queue)
				}
				return errs
			}
		})(at, v)
		*to = all
		return errs
	}
}
