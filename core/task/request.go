package task

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/taskgate/taskgate/core/strictjson"
)

// The limits of a request that are the same for all targets. Text is counted in
// characters.
const (
	maxName          = 255
	maxGroup         = 128
	maxMetadata      = 50
	maxMetadataKey   = 40
	maxMetadataValue = 500
	maxKey           = 255                      // of an Idempotency-Key
	maxDelaySeconds  = 100 * 365 * 24 * 60 * 60 // a century; a longer delay is a mistake
	maxPriority      = 100                      // as in Django
	maxYear          = 9000                     // so that a record's life still ends in a year of four digits
)

// defaultBackend is the alias that a request without one means, as in Django.
const defaultBackend = "default"

// MaxBatch is the most tasks of one batch.
const MaxBatch = 100

// Request is a request for a task, decoded and with its defaults.
type Request struct {
	TaskName     string            `json:"task_name"`
	Args         jsontext.Value    `json:"args"`   // an array, as sent except for white space
	Kwargs       jsontext.Value    `json:"kwargs"` // an object, as sent except for white space
	Backend      string            `json:"backend"`
	QueueName    string            `json:"queue_name"` // "" = the backend's default
	Priority     int               `json:"priority"`
	RunAfter     Time              `json:"run_after"`
	DelaySeconds *float64          `json:"delay_seconds"` // nil = not given
	ExpiresAt    Time              `json:"expires_at"`
	Group        string            `json:"group"`
	MaxAttempts  int               `json:"max_attempts"` // 0 = the broker decides
	Metadata     map[string]string `json:"metadata"`
	TakesContext bool              `json:"takes_context"`

	ID  string `json:"-"` // the client's own id for the task, a UUID of version 7; "" = none
	Key string `json:"-"` // the Idempotency-Key; "" = none
}

// repeatedID returns the task id that all repetitions of this request share. It
// returns "" if each repetition would be a new task.
func (r Request) repeatedID(owner string) string {
	switch {
	case r.Key != "" && r.ID != "":
		return "" // not a valid request, so no task has come of it
	case r.Key != "":
		return KeyedID(owner, r.Key)
	}
	return r.ID
}

// ParseRequest decodes a request from checked JSON. The error is InvalidTask and
// lists every rule that the request breaks. An item of a batch may have its own
// idempotency_key.
func ParseRequest(v jsontext.Value, inBatch bool) (Request, error) {
	r := Request{Args: jsontext.Value("[]"), Kwargs: jsontext.Value("{}"), Backend: defaultBackend}
	member := func(name string) strictjson.Field { return r.field(name, inBatch) }
	errs := strictjson.Object(member, "task_name")("", v)
	if r.DelaySeconds != nil && !r.RunAfter.IsZero() {
		errs = append(errs, strictjson.FieldError{
			Pointer: "/delay_seconds", Detail: "cannot be given with run_after"})
	}
	if len(errs) > 0 {
		return Request{}, &Error{Kind: InvalidTask, Msg: "the task breaks the rules listed in errors", Fields: errs}
	}
	return r, nil
}

func (r *Request) field(name string, inBatch bool) strictjson.Field {
	switch name {
	case "task_name":
		return taskName(&r.TaskName)
	case "id":
		return strictjson.Nullable(clientID(&r.ID))
	case "args":
		return strictjson.Raw(&r.Args, '[')
	case "kwargs":
		return strictjson.Raw(&r.Kwargs, '{')
	case "backend":
		return strictjson.Name(&r.Backend, maxName)
	case "queue_name":
		return strictjson.Nullable(strictjson.Name(&r.QueueName, maxName))
	case "priority":
		return strictjson.Int(&r.Priority, -maxPriority, maxPriority)
	case "run_after":
		return strictjson.Nullable(timestamp(&r.RunAfter))
	case "delay_seconds":
		return strictjson.Nullable(func(at string, v jsontext.Value) []strictjson.FieldError {
			r.DelaySeconds = new(float64)
			return strictjson.Number(r.DelaySeconds, 0, maxDelaySeconds)(at, v)
		})
	case "expires_at":
		return strictjson.Nullable(timestamp(&r.ExpiresAt))
	case "group":
		return strictjson.Nullable(strictjson.Name(&r.Group, maxGroup))
	case "max_attempts":
		return strictjson.Nullable(strictjson.Int(&r.MaxAttempts, 1, MaxAttempts))
	case "metadata":
		return metadata(&r.Metadata)
	case "takes_context":
		return strictjson.Bool(&r.TakesContext)
	case "idempotency_key":
		if inBatch {
			return idempotencyKey(&r.Key)
		}
	}
	return nil
}

// reservedPrefix begins the names of tasks that the service itself enqueues.
const reservedPrefix = "taskgate."

func taskName(to *string) strictjson.Field {
	return func(at string, v jsontext.Value) []strictjson.FieldError {
		errs := strictjson.Name(to, maxName)(at, v)
		if errs == nil && strings.HasPrefix(*to, reservedPrefix) {
			errs = []strictjson.FieldError{{Pointer: at, Detail: "must not begin with taskgate., which is reserved: choose another name"}}
		}
		return errs
	}
}

// clientID decodes an id that the client has made: a UUID of version 7 (RFC 9562)
// in lower case, so that no two texts mean one task.
func clientID(to *string) strictjson.Field {
	return func(at string, v jsontext.Value) []strictjson.FieldError {
		var text string
		if errs := strictjson.Text(&text, maxName)(at, v); errs != nil {
			return errs
		}
		id, err := uuid.Parse(text)
		if err != nil || id.String() != text || id.Version() != 7 || id.Variant() != uuid.RFC4122 {
			return []strictjson.FieldError{{Pointer: at, Detail: "must be a UUID of version 7 in lower case, as 0190a4f6-7b3c-7def-8123-456789abcdef"}}
		}
		*to = text
		return nil
	}
}

// timestamp decodes an RFC 3339 timestamp, which always has an offset.
func timestamp(to *Time) strictjson.Field {
	return func(at string, v jsontext.Value) []strictjson.FieldError {
		var text string
		if errs := strictjson.Text(&text, maxName)(at, v); errs != nil {
			return errs
		}
		var t Time
		if err := t.UnmarshalText([]byte(text)); err != nil || t.IsZero() || t.Year() >= maxYear {
			return []strictjson.FieldError{{Pointer: at, Detail: "must be an RFC 3339 timestamp with an offset, as 2030-01-31T12:00:00Z, before the year 9000" + timestampHint(text)}}
		}
		*to = t
		return nil
	}
}

func metadata(to *map[string]string) strictjson.Field {
	return func(at string, v jsontext.Value) []strictjson.FieldError {
		m := map[string]string{}
		errs := strictjson.Object(func(name string) strictjson.Field {
			return func(at string, v jsontext.Value) []strictjson.FieldError {
				switch {
				case name == "" || utf8.RuneCountInString(name) > maxMetadataKey:
					return []strictjson.FieldError{{Pointer: at, Detail: "a key must have 1 to 40 characters"}}
				case strings.HasPrefix(name, "_"):
					return []strictjson.FieldError{{Pointer: at, Detail: "keys that begin with _ are reserved"}}
				}
				var value string
				errs := strictjson.Text(&value, maxMetadataValue)(at, v)
				m[name] = value
				return errs
			}
		})(at, v)
		if len(m) > maxMetadata {
			errs = append(errs, strictjson.FieldError{Pointer: at, Detail: "must have at most 50 members"})
		}
		*to = m
		return errs
	}
}

func idempotencyKey(to *string) strictjson.Field {
	return func(at string, v jsontext.Value) []strictjson.FieldError {
		var key string
		errs := strictjson.Text(&key, maxKey)(at, v)
		if errs == nil && !ValidKey(key) {
			errs = []strictjson.FieldError{{Pointer: at, Detail: "must be 1 to 255 printable ASCII characters"}}
		}
		*to = key
		return errs
	}
}

// ValidKey reports whether key can be an Idempotency-Key: 1 to 255 printable
// ASCII characters, so that it is the same in a header and in a body.
func ValidKey(key string) bool {
	return key != "" && len(key) <= maxKey &&
		!strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' })
}

// due returns when the task may run: zero = at once.
func (r Request) due(now time.Time) Time {
	if r.DelaySeconds != nil && *r.DelaySeconds > 0 {
		return At(now.Add(time.Duration(*r.DelaySeconds * float64(time.Second))))
	}
	return r.RunAfter
}
