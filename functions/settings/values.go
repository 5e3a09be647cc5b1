package settings

import (
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
)

// text decodes a string. Null and the empty string mean that it is absent.
func text(to *string) strictjson.Field { return upTo(to, maxText) }

// queueName is text that names a queue, topic or function.
func queueName(to *string) strictjson.Field { return upTo(to, maxName) }

func upTo(to *string, most int) strictjson.Field {
	return strictjson.Nullable(func(at string, v jsontext.Value) []strictjson.FieldError {
		if string(v) == `""` {
			return nil
		}
		var s string
		if errs := strictjson.Name(&s, most)(at, v); errs != nil {
			return errs
		}
		if rule := checkFilledIn(s); rule != "" {
			return []strictjson.FieldError{{Pointer: at, Detail: rule}}
		}
		*to = s
		return nil
	})
}

// secret is text that is never shown.
func secret(to *Secret) strictjson.Field { return text((*string)(to)) }

// boolean decodes true, false or null. The text "true" is a mistake, because
// Python would take "false" for true.
func boolean(to *bool) strictjson.Field { return strictjson.Nullable(strictjson.Bool(to)) }

// queues decodes QUEUES. Like Django's, it is a set: repeats are dropped.
func queues(to *[]string) strictjson.Field {
	return func(at string, v jsontext.Value) []strictjson.FieldError {
		all := []string{}
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

// maxPriority bounds the priority of a task, as in Django: -100 to 100.
const maxPriority = 100

// priorityQueues decodes PRIORITY_QUEUES: for each queue, by threshold, the
// queues that take its tasks of other priorities.
func priorityQueues(to *map[string]map[int]string) strictjson.Field {
	all := map[string]map[int]string{}
	return strictjson.Object(func(queue string) strictjson.Field {
		all[queue], *to = map[int]string{}, all
		return strictjson.Object(func(threshold string) strictjson.Field {
			return func(at string, v jsontext.Value) []strictjson.FieldError {
				n, err := strconv.Atoi(threshold)
				if err != nil || strconv.Itoa(n) != threshold || n < -maxPriority || n > maxPriority || n == 0 {
					return []strictjson.FieldError{{Pointer: at, Detail: "must have a priority as its name: a whole number from -100 to 100 such as \"10\", but not 0, which is the priority of the named queue itself"}}
				}
				var name string
				if errs := strictjson.Name(&name, maxName)(at, v); errs != nil {
					return errs
				}
				all[queue][n] = name
				return nil
			}
		})
	})
}
