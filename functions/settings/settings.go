// Package settings reads what a main is configured with: a flat set of
// environment variables, and in one of them the backends, in the shape of
// Django's TASKS.
//
// Nothing stops at the first mistake. A main reads all that it wants from an
// [Env], whose Err then reports every setting that is missing, bad or unknown,
// each with the right name nearest to it:
//
//	env := settings.NewEnv(os.Environ())
//	service := env.Service(settings.Main{Name: "functions/aws", …})
//	table := env.Required("TASKGATE_TABLE")
//	if err := env.Err(); err != nil { … }
//
// No error text holds a secret: values are quoted only where a setting cannot
// be one.
package settings

import (
	"fmt"
	"strings"
	"time"

	"github.com/taskgate/taskgate/core/httpapi"
)

// Main is what one main says of itself.
type Main struct {
	Name    string   // its directory: "functions/aws"
	Serves  []Kind   // the backends that it links
	Auth    []Auth   // the modes that it allows, its default first
	Loaders []string // its own credential loaders, beside the built-in ones

	DefaultTasks     string // used when no backends are set; "" = they are required
	MakesTokenSecret bool   // TASKGATE_TOKEN_SECRETS may be unset
}

// Service is what every main that serves the API is configured with.
type Service struct {
	Backends     []Backend // at least one, in the order written
	PublicURL    string    // without a trailing slash; "" = the gateway's own domain name
	Auth         Auth
	APIKeys      []httpapi.APIKey // at least one with AuthKeys, else none
	TokenSecrets [][]byte         // the first signs; empty only when the main makes one itself
	ResultTTL    time.Duration
	MaxWait      time.Duration // how long a get may wait at most; 0 = it never waits
}

// The longest that a get may wait, in [Service].
const maxWait = 20 * time.Second

// Service reads the settings that all service mains share.
func (e *Env) Service(m Main) Service {
	return Service{
		Backends:     e.backends(m),
		PublicURL:    e.URL("TASKGATE_PUBLIC_URL"),
		Auth:         e.auth(m),
		APIKeys:      e.apiKeys(m),
		TokenSecrets: e.tokenSecrets(m),
		ResultTTL:    e.Duration("TASKGATE_RESULT_TTL", 7*24*time.Hour, time.Millisecond, 0),
		MaxWait:      e.Duration("TASKGATE_MAX_WAIT", maxWait, 0, maxWait),
	}
}

// Errors is every mistake in the settings, one sentence each.
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

func (e *Errors) addf(format string, args ...any) {
	*e = append(*e, fmt.Sprintf(format, args...))
}

// Secret is a value that must not be shown: however it is printed, logged or
// encoded, something else comes out. Convert it to a string to use it.
type Secret string

const redacted = "[secret]"

// Format implements [fmt.Formatter] for every verb.
func (Secret) Format(s fmt.State, _ rune) { fmt.Fprint(s, redacted) }

// MarshalText hides the secret from JSON and slog.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
