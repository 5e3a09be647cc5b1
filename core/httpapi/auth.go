package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/taskgate/taskgate/core/task"
)

// The scopes of an API key.
const (
	ScopeEnqueue = "enqueue"
	ScopeRead    = "read"
	ScopeAdmin   = "admin" // sees every caller's tasks
)

// Scopes returns every scope.
func Scopes() []string { return []string{ScopeEnqueue, ScopeRead, ScopeAdmin} }

// APIKey is one entry of TASKGATE_API_KEYS. A name may have several, so that
// keys can be rotated.
type APIKey struct {
	Name   string            // the caller's
	Scopes []string          // at least one of the Scope constants
	SHA256 [sha256.Size]byte // of the key, which is not kept
}

// String returns the entry as TASKGATE_API_KEYS has it. It holds no secret.
func (k APIKey) String() string {
	return k.Name + ":" + strings.Join(k.Scopes, "+") + ":" + hex.EncodeToString(k.SHA256[:])
}

// Caller is who sent a request.
type Caller struct {
	Name   string   // the owner of what it enqueues
	Scopes []string // of the Scope constants
}

// may reports whether the caller has the scope; admin includes the others.
func (c Caller) may(scope string) bool {
	return slices.Contains(c.Scopes, scope) || slices.Contains(c.Scopes, ScopeAdmin)
}

// Auth says who sent a request: Unauthenticated when nobody can tell.
type Auth func(*http.Request) (Caller, error)

// Keys authenticates by API key, as "Authorization: Bearer <key>". Several keys
// may have one name, so that they can be rotated. Every key is compared, in
// constant time.
func Keys(keys []APIKey) Auth {
	return func(r *http.Request) (Caller, error) {
		scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || key == "" || len(r.Header.Values("Authorization")) > 1 {
			return Caller{}, task.Errorf(task.Unauthenticated, "the Authorization header must be Bearer and an API key")
		}
		sum := sha256.Sum256([]byte(strings.TrimSpace(key)))
		var found *APIKey
		for i := range keys {
			if subtle.ConstantTimeCompare(sum[:], keys[i].SHA256[:]) == 1 {
				found = &keys[i]
			}
		}
		if found == nil {
			return Caller{}, task.Errorf(task.Unauthenticated, "the API key is not known")
		}
		return Caller{found.Name, found.Scopes}, nil
	}
}

// FromPlatform trusts the platform in front, whose adapter has said who the
// caller is by [WithGateway].
func FromPlatform(r *http.Request) (Caller, error) {
	name := GatewayOf(r.Context()).Caller
	if name == "" {
		return Caller{}, task.Errorf(task.Unauthenticated, "the platform in front has authenticated nobody")
	}
	return Caller{Name: name, Scopes: []string{ScopeEnqueue, ScopeRead}}, nil
}

// Open lets everybody do everything; for loopback only.
func Open(*http.Request) (Caller, error) {
	return Caller{Name: "local", Scopes: []string{ScopeAdmin}}, nil
}
