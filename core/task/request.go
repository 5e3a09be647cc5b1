package task

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/taskgate/taskgate/core/strictjson"
)

// The limits of a request that no target changes. Text is counted in characters.
const (
	maxName          = 255
	maxGroup         = 128
	maxMetadata      = 50
	maxMetadataKey   = 40
	maxMetadataValue = 500
	maxKey           = 255                      // of an Idempotency-Key
	maxDelaySeconds  = 100 * 365 * 24 * 60 * 60 // a century: beyond it is a mistake
	maxYear          = 9000                     // so that a record's life still ends in a year of four digits
)

// MaxBatch is the most tasks of one batch.
const MaxBatch = 100

// Request asks for a task, decoded and with its defaults.
type Request struct {
	TaskName     string            `json:"task_name"`
	Args         jsontext.Value    `json:"args"`   // an array, byte for byte but for whitespace
	Kwargs       jsontext.Value    `json:"kwargs"` // an object, likewise
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

	Key string `json:"-"` // the Idempotency-Key; "" = none
}

// ParseRequest decodes one request from checked JSON: InvalidTask with every
// rule that it breaks. In a batch, an item carries its own idempotency_key.
func ParseRequest(v jsontext.Value, inBatch bool) (Request, error) {
	r := Request{Args: jsontext.Value("[]"), Kwargs: jsontext.Value("{}"), Backend: "default"}
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
		return strictjson.Name(&r.TaskName, maxName)
	case "args":
		return strictjson.Raw(&r.Args, '[')
	case "kwargs":
		return strictjson.Raw(&r.Kwargs, '{')
	case "backend":
		return strictjson.Name(&r.Backend, maxName)
	case "queue_name":
		return strictjson.Nullable(strictjson.Name(&r.QueueName, maxName))
	case "priority":
		return strictjson.Int(&r.Priority, -1<<31, 1<<31-1)
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

// timestamp decodes an RFC 3339 timestamp, which always has an offset.
func timestamp(to *Time) strictjson.Field {
	return func(at string, v jsontext.Value) []strictjson.FieldError {
		var text string
		if errs := strictjson.Text(&text, maxName)(at, v); errs != nil {
			return errs
		}
		var t Time
		if err := t.UnmarshalText([]byte(text)); err != nil || t.IsZero() || t.Year() >= maxYear {
			return []strictjson.FieldError{{Pointer: at, Detail: "must be an RFC 3339 timestamp with an offset, as 2030-01-31T12:00:00Z, before the year 9000"}}
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

// fingerprint tells requests that share an Idempotency-Key apart: the hex
// SHA-256 of the decoded, defaulted request with its raw args and kwargs.
func (r Request) fingerprint() (string, error) {
	b, err := encode(r)
	if err != nil {
		return "", &Error{Kind: Internal, Msg: "cannot encode the request", Err: err}
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// due returns when the task may run: zero = at once.
func (r Request) due(now time.Time) Time {
	if r.DelaySeconds != nil && *r.DelaySeconds > 0 {
		return At(now.Add(time.Duration(*r.DelaySeconds * float64(time.Second))))
	}
	return r.RunAfter
}
