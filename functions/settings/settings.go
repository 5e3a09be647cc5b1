// Package settings reads the configuration of a main: a flat set of environment
// variables, one of which holds the backends in the shape of Django's TASKS.
//
// Reading does not stop at the first mistake. A main reads all its settings
// from an [Env]. Err then reports every setting that is missing, wrong or
// unknown, with the nearest right name:
//
//	env := settings.NewEnv(os.Environ())
//	service := env.Service(settings.Main{Name: "functions/aws", …})
//	table := env.Required("TASKGATE_TABLE")
//	if err := env.Err(); err != nil { … }
//
// No error text contains a secret. A value is quoted only where the setting
// cannot hold a secret.
package settings

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/taskgate/taskgate/core/httpapi"
)

// Main describes the main that reads the settings.
type Main struct {
	Name    string              // its directory: "functions/aws"
	Serves  map[Kind]CheckQueue // the backends that it links, each with its target's naming rules; nil = all, with any names
	Auth    []Auth              // the modes that it allows, its default first
	Loaders []string            // its own credential loaders, beside the built-in ones
	Region  string              // the AWS region that it runs in; "" = not on AWS

	DefaultTasks     string // used when TASKS is not set; "" = TASKS is required
	MakesTokenSecret bool   // TASKGATE_TOKEN_SECRETS may be unset
}

// CheckQueue returns the naming rule of a target that the name of a queue,
// topic or function breaks, or "". A nil CheckQueue accepts every name.
type CheckQueue func(name string) (rule string)

// Service holds the settings that every main with the API has.
type Service struct {
	Tasks
	PublicURL    string // without a trailing slash; "" = the gateway's own domain name
	Auth         Auth
	APIKeys      []httpapi.APIKey // at least one with AuthKeys, otherwise none
	Admins       []string         // callers that have the scope admin with AuthPlatform
	TokenSecrets [][]byte         // the first signs; empty only when the main makes one itself
	ResultTTL    time.Duration
	MaxWait      time.Duration // the longest that a get may wait; 0 = it never waits
}

const (
	maxWait = 20 * time.Second // of TASKGATE_MAX_WAIT

	// maxTTL of TASKGATE_RESULT_TTL, a hundred years, keeps sums of durations
	// far from the overflow at 292 years.
	maxTTL = 100 * 365 * 24 * time.Hour
)

// Service reads the settings that every main with the API has.
func (e *Env) Service(m Main) Service {
	return Service{
		Tasks:        e.tasks(m),
		PublicURL:    e.URL("TASKGATE_PUBLIC_URL"),
		Auth:         e.auth(m),
		APIKeys:      e.apiKeys(m),
		Admins:       e.admins(m),
		TokenSecrets: e.tokenSecrets(m),
		ResultTTL:    e.Duration("TASKGATE_RESULT_TTL", 7*24*time.Hour, time.Millisecond, maxTTL),
		MaxWait:      e.Duration("TASKGATE_MAX_WAIT", maxWait, 0, maxWait),
	}
}

// Errors holds every mistake in the settings, one sentence each.
type Errors []string

func (e Errors) Error() string {
	return "the settings are wrong:\n  " + strings.Join(e, "\n  ")
}

// err returns nil when there are no mistakes.
func (e Errors) err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// addf adds a mistake, once.
func (e *Errors) addf(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(*e, text) {
		*e = append(*e, text)
	}
}

// Secret is a value that must not be shown. Printing, logging and encoding it
// shows a placeholder. Convert it to a string to use it.
type Secret string

const redacted = "[secret]"

// Format implements [fmt.Formatter] for every verb.
func (Secret) Format(s fmt.State, _ rune) { fmt.Fprint(s, redacted) }

// MarshalText hides the secret from JSON and slog.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
