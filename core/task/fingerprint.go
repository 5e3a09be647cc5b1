package task

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// A fingerprint shows whether two requests with the same key or id are the same
// request. From version 2 on, a fingerprint begins with its version. A build
// compares a request by the version of the stored fingerprint, so a repeated
// request still matches after an upgrade.
//
// Version 1 has no prefix: it is the hex SHA-256 of the decoded request with args
// and kwargs as they were written. Version 2 is of the request's JSON value: the
// order of members, escapes and white space do not count, and a member at its
// default counts as absent, so that members added later change nothing. The
// spelling of numbers in args and kwargs does count.
const (
	fingerprintV2 = "2:"
	versionMark   = ":" // in no fingerprint of version 1
)

// fingerprint returns the request's fingerprint in the newest version.
func (r Request) fingerprint() (string, error) {
	args, kwargs := slices.Clone(r.Args), slices.Clone(r.Kwargs)
	for _, v := range []*jsontext.Value{&args, &kwargs} {
		if err := v.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)); err != nil {
			return "", &Error{Kind: Internal, Msg: "cannot encode the request", Err: err}
		}
	}
	if string(args) == "[]" {
		args = nil
	}
	if string(kwargs) == "{}" {
		kwargs = nil
	}
	backend := r.Backend
	if backend == defaultBackend {
		backend = ""
	}
	sum, err := sumOf(struct {
		TaskName     string            `json:"task_name"`
		Args         jsontext.Value    `json:"args,omitzero"`
		Kwargs       jsontext.Value    `json:"kwargs,omitzero"`
		Backend      string            `json:"backend,omitzero"`
		QueueName    string            `json:"queue_name,omitzero"`
		Priority     int               `json:"priority,omitzero"`
		RunAfter     Time              `json:"run_after,omitzero"`
		DelaySeconds *float64          `json:"delay_seconds,omitzero"`
		ExpiresAt    Time              `json:"expires_at,omitzero"`
		Group        string            `json:"group,omitzero"`
		MaxAttempts  int               `json:"max_attempts,omitzero"`
		Metadata     map[string]string `json:"metadata,omitempty"`
		TakesContext bool              `json:"takes_context,omitzero"`
	}{
		r.TaskName, args, kwargs, backend, r.QueueName, r.Priority, r.RunAfter, r.DelaySeconds,
		r.ExpiresAt, r.Group, r.MaxAttempts, r.Metadata, r.TakesContext,
	})
	return fingerprintV2 + sum, err
}

// matches reports whether the request is the one whose fingerprint a record has.
// Unavailable when a later version made the fingerprint.
func (r Request) matches(fingerprint string) (bool, error) {
	var own string
	var err error
	switch {
	case !strings.Contains(fingerprint, versionMark):
		own, err = r.fingerprintV1()
	case strings.HasPrefix(fingerprint, fingerprintV2):
		own, err = r.fingerprint()
	default:
		return false, Errorf(Unavailable, "a later version of taskgate wrote this task, and this version cannot compare the request with it: repeat it when the upgrade is done")
	}
	return own == fingerprint, err
}

// fingerprintV1 has exactly the members that version 1 had, in their order.
func (r Request) fingerprintV1() (string, error) {
	return sumOf(struct {
		TaskName     string            `json:"task_name"`
		Args         jsontext.Value    `json:"args"`
		Kwargs       jsontext.Value    `json:"kwargs"`
		Backend      string            `json:"backend"`
		QueueName    string            `json:"queue_name"`
		Priority     int               `json:"priority"`
		RunAfter     Time              `json:"run_after"`
		DelaySeconds *float64          `json:"delay_seconds"`
		ExpiresAt    Time              `json:"expires_at"`
		Group        string            `json:"group"`
		MaxAttempts  int               `json:"max_attempts"`
		Metadata     map[string]string `json:"metadata"`
		TakesContext bool              `json:"takes_context"`
	}{
		r.TaskName, r.Args, r.Kwargs, r.Backend, r.QueueName, r.Priority, r.RunAfter, r.DelaySeconds,
		r.ExpiresAt, r.Group, r.MaxAttempts, r.Metadata, r.TakesContext,
	})
}

// sumOf returns the hex SHA-256 of a value's JSON.
func sumOf(v any) (string, error) {
	b, err := encode(v)
	if err != nil {
		return "", &Error{Kind: Internal, Msg: "cannot encode the request", Err: err}
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
