package settings

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
)

// Auth is how callers are authenticated.
type Auth string

// The modes of TASKGATE_AUTH.
const (
	AuthKeys     Auth = "keys"     // API keys, checked here
	AuthPlatform Auth = "platform" // the platform in front has done it
	AuthNone     Auth = "none"     // nobody does: for loopback addresses only
)

// maxKeyName is the most characters of a key's name.
const maxKeyName = 64

// ParseAPIKeys reads name:scope+scope:sha256hex entries, separated by commas.
// The error is [Errors]; since a misplaced part of an entry may be a key, it
// names entries by their place and quotes nothing of them.
func ParseAPIKeys(s string) ([]httpapi.APIKey, error) {
	var keys []httpapi.APIKey
	var errs Errors
	for i, entry := range strings.Split(s, ",") {
		key, err := parseAPIKey(strings.TrimSpace(entry))
		if err != nil {
			errs.addf("entry %d of TASKGATE_API_KEYS %v", i+1, err)
			continue
		}
		if slices.ContainsFunc(keys, func(k httpapi.APIKey) bool { return k.SHA256 == key.SHA256 }) {
			errs.addf("entry %d of TASKGATE_API_KEYS has the key of an earlier entry", i+1)
			continue
		}
		keys = append(keys, key)
	}
	return keys, errs.err()
}

func parseAPIKey(entry string) (httpapi.APIKey, error) {
	parts := strings.Split(entry, ":")
	if len(parts) != 3 {
		return httpapi.APIKey{}, errors.New("must be name:scope+scope:sha256hex")
	}
	k := httpapi.APIKey{Name: parts[0], Scopes: strings.Split(parts[1], "+")}
	if k.Name == "" || len(k.Name) > maxKeyName || strings.ContainsFunc(k.Name, notInKeyName) {
		return httpapi.APIKey{}, errors.New("must begin with a name of 1 to 64 letters, digits and any of . _ - @")
	}
	for i, scope := range k.Scopes {
		if !slices.Contains(httpapi.Scopes(), scope) {
			return httpapi.APIKey{}, errors.New("has an unknown scope; the scopes are enqueue, read and admin, joined by +")
		}
		if slices.Contains(k.Scopes[:i], scope) {
			return httpapi.APIKey{}, errors.New("repeats a scope")
		}
	}
	sum, err := hex.DecodeString(parts[2])
	if err != nil || len(sum) != sha256.Size {
		return httpapi.APIKey{}, errors.New("must end with the key's SHA-256 in 64 hex digits, not with the key")
	}
	k.SHA256 = [sha256.Size]byte(sum)
	if k.SHA256 == sha256.Sum256(nil) {
		return httpapi.APIKey{}, errors.New("has the SHA-256 of an empty key")
	}
	return k, nil
}

func notInKeyName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-@", r)
}

// ParseTokenSecrets reads comma-separated secrets of at least
// [task.MinSecretBytes] bytes each; space around them is not part of them. The
// error is [Errors].
func ParseTokenSecrets(s string) ([][]byte, error) {
	var secrets [][]byte
	var errs Errors
	for i, entry := range strings.Split(s, ",") {
		secret := strings.TrimSpace(entry)
		if len(secret) < task.MinSecretBytes {
			errs.addf("entry %d of TASKGATE_TOKEN_SECRETS has %d bytes, and must have at least %d",
				i+1, len(secret), task.MinSecretBytes)
			continue
		}
		secrets = append(secrets, []byte(secret))
	}
	return secrets, errs.err()
}

func (e *Env) auth(m Main) Auth {
	allowed := make([]string, len(m.Auth))
	for i, a := range m.Auth {
		allowed[i] = string(a)
	}
	return Auth(e.Choice("TASKGATE_AUTH", allowed...))
}

// apiKeys reads the keys that the mode asks for. Keys beside a mode that
// ignores them are a mistake: whoever set them thinks that they protect.
func (e *Env) apiKeys(m Main) []httpapi.APIKey {
	const name = "TASKGATE_API_KEYS"
	mode := Auth(e.String("TASKGATE_AUTH", string(m.Auth[0])))
	value := e.String(name, "")
	switch {
	case value == "" && mode == AuthKeys:
		e.Failf("%s is required when TASKGATE_AUTH is keys; make key mints one", name)
		return nil
	case value == "":
		return nil
	case slices.Contains(m.Auth, mode) && mode != AuthKeys:
		e.Failf("%s is set, but TASKGATE_AUTH is %s, which ignores it: set that to keys, or leave this out", name, mode)
		return nil
	}
	keys, err := ParseAPIKeys(value)
	e.add(err)
	return keys
}

func (e *Env) tokenSecrets(m Main) [][]byte {
	const name = "TASKGATE_TOKEN_SECRETS"
	value := e.String(name, "")
	if value == "" {
		if !m.MakesTokenSecret {
			e.Failf("%s is required: at least %d random bytes", name, task.MinSecretBytes)
		}
		return nil
	}
	secrets, err := ParseTokenSecrets(value)
	e.add(err)
	return secrets
}

// add notes the mistakes of a parser.
func (e *Env) add(err error) {
	var errs Errors
	if errors.As(err, &errs) {
		e.errs = append(e.errs, errs...)
	}
}
