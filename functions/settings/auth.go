package settings

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
)

// Auth is how callers are authenticated.
type Auth string

// The modes of TASKGATE_AUTH.
const (
	AuthKeys     Auth = "keys"     // this process checks API keys
	AuthPlatform Auth = "platform" // the platform in front has authenticated the caller
	AuthNone     Auth = "none"     // nobody does; for loopback addresses only
)

// maxKeyName is the longest name of a key, in characters.
const maxKeyName = 64

// entries splits a list at its commas. White space around an entry is not part
// of it.
func entries(list string) []string {
	all := strings.Split(list, ",")
	for i := range all {
		all[i] = strings.Trim(all[i], " \t\r\n")
	}
	return all
}

// ParseAPIKeys reads name:scope+scope:sha256hex entries, separated by commas.
// The error is [Errors]. It names an entry by its place and does not quote it,
// because a misplaced part of an entry may be a key.
func ParseAPIKeys(s string) ([]httpapi.APIKey, error) {
	var keys []httpapi.APIKey
	var errs Errors
	for i, entry := range entries(s) {
		key, err := parseAPIKey(entry)
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
		return httpapi.APIKey{}, errors.New("must be name:scope+scope:sha256hex; make key prints such an entry")
	}
	k := httpapi.APIKey{Name: parts[0], Scopes: strings.Split(parts[1], "+")}
	if k.Name == "" || len(k.Name) > maxKeyName || strings.ContainsFunc(k.Name, notInKeyName) {
		return httpapi.APIKey{}, fmt.Errorf("must begin with a name of 1 to %d letters, digits and any of . _ - @", maxKeyName)
	}
	for i, scope := range k.Scopes {
		if !slices.Contains(httpapi.Scopes(), scope) {
			return httpapi.APIKey{}, fmt.Errorf("has an unknown scope; the scopes are %s, joined by +", strings.Join(httpapi.Scopes(), ", "))
		}
		if slices.Contains(k.Scopes[:i], scope) {
			return httpapi.APIKey{}, errors.New("repeats a scope")
		}
	}
	sum, err := hex.DecodeString(parts[2])
	if err != nil || len(sum) != sha256.Size {
		return httpapi.APIKey{}, errors.New("must end with the SHA-256 of the key in 64 hex digits, not with the key")
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

// ParseTokenSecrets reads secrets of at least [task.MinSecretBytes] bytes each,
// separated by commas. The error is [Errors].
func ParseTokenSecrets(s string) ([][]byte, error) {
	var secrets [][]byte
	var errs Errors
	for i, secret := range entries(s) {
		if len(secret) < task.MinSecretBytes {
			errs.addf("entry %d of TASKGATE_TOKEN_SECRETS has %d bytes, but must have at least %d",
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

// ignored notes that a list has no effect in the mode that is set: whoever set
// it believes that it protects something, or lets somebody in.
func (e *Env) ignored(name string, mode, needs Auth) {
	e.Failf("%s is set, but TASKGATE_AUTH is %s, which ignores it: set TASKGATE_AUTH to %s, or remove %s", name, mode, needs, name)
}

func (e *Env) apiKeys(m Main) []httpapi.APIKey {
	const name = "TASKGATE_API_KEYS"
	mode := e.auth(m)
	value, ok := e.list(name)
	switch {
	case !ok:
		return nil
	case value == "" && mode == AuthKeys:
		e.Failf("%s is required when TASKGATE_AUTH is keys; make key prints an entry", name)
		return nil
	case value == "":
		return nil
	case mode != AuthKeys:
		e.ignored(name, mode, AuthKeys)
		return nil
	}
	keys, err := ParseAPIKeys(value)
	e.add(err)
	return keys
}

// admins reads the names of the callers who have the scope admin where the
// platform authenticates. API keys have their scopes themselves.
func (e *Env) admins(m Main) []string {
	const name = "TASKGATE_ADMINS"
	value, ok := e.list(name)
	if !ok || value == "" {
		return nil
	}
	if mode := e.auth(m); mode != AuthPlatform {
		if slices.Contains(m.Auth, AuthPlatform) {
			e.ignored(name, mode, AuthPlatform)
		} else {
			e.Failf("%s is set, but nothing in %s reads it: a key's scopes are part of its entry in TASKGATE_API_KEYS", name, m.Name)
		}
		return nil
	}
	names := entries(value)
	for i, caller := range names {
		if caller == "" || hasControl(caller) || slices.Contains(names[:i], caller) {
			e.Failf("entry %d of %s must be the name of a caller, once, and without control characters", i+1, name)
		}
	}
	return names
}

func (e *Env) tokenSecrets(m Main) [][]byte {
	const name = "TASKGATE_TOKEN_SECRETS"
	value, ok := e.list(name)
	if !ok || value == "" {
		if ok && !m.MakesTokenSecret {
			e.Failf("%s is required: at least %d random bytes, such as openssl rand -base64 32 prints", name, task.MinSecretBytes)
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
		for _, text := range errs {
			e.errs.addf("%s", text)
		}
	}
}
