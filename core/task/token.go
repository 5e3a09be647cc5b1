package task

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Tokens signs and verifies the token in a message. The token gives the right to
// report on that one task. Its form is
//
//	v1.<base64url payload>.<base64url HMAC-SHA256 of everything before this dot>
//
// The payload is {"id","exp","enq"}: exp in Unix seconds, enq in Unix microseconds;
// base64url is without padding. enq is the task's enqueued_at. When a record is past
// its life, a new task with the same key gets the same id, and a message of the old
// task must not report on the new one. A token without enq is valid for any task
// with the id.
type Tokens struct {
	// Secrets, of at least MinSecretBytes each; the first signs, all verify.
	Secrets [][]byte
}

// MinSecretBytes is the minimum length of a token secret.
const MinSecretBytes = 32

type tokenPayload struct {
	ID  string `json:"id"`
	Exp int64  `json:"exp"`
	Enq int64  `json:"enq"`
}

// Sign returns the token for the task with this id and enqueued_at (zero = any),
// valid until exp.
func (t Tokens) Sign(id string, enqueuedAt Time, exp time.Time) string {
	payload := []byte(`{"id":"` + id + `","exp":`) // an id needs no escapes
	payload = strconv.AppendInt(payload, exp.Unix(), 10)
	if !enqueuedAt.IsZero() {
		payload = strconv.AppendInt(append(payload, `,"enq":`...), enqueuedAt.UnixMicro(), 10)
	}
	payload = append(payload, '}')
	signed := base64.RawURLEncoding.AppendEncode([]byte("v1."), payload)
	signature := sign(t.Secrets[0], signed)
	return string(append(append(signed, '.'), signature...))
}

// Verify checks that the token gives the right to report on the task with this id,
// and returns the task's enqueued_at from the token (zero = any). Every error is
// Unauthenticated. Signatures are compared in constant time.
func (t Tokens) Verify(token, id string, now time.Time) (enqueuedAt Time, err error) {
	dot := strings.LastIndexByte(token, '.')
	if dot < 0 || !strings.HasPrefix(token, "v1.") {
		return Time{}, Errorf(Unauthenticated, "the header Taskgate-Token is missing, or is not the token of a task's message")
	}
	signed := token[:dot]
	if !t.signedBy(signed, token[dot+1:]) {
		return Time{}, Errorf(Unauthenticated, "the token's signature is not valid")
	}
	var p tokenPayload
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(signed, "v1."))
	if err == nil {
		err = json.Unmarshal(payload, &p)
	}
	switch {
	case err != nil:
		return Time{}, &Error{Kind: Unauthenticated, Msg: "the token's payload cannot be read", Err: err}
	case p.ID != id:
		return Time{}, Errorf(Unauthenticated, "the token belongs to another task")
	case now.Unix() >= p.Exp:
		return Time{}, Errorf(Unauthenticated, "the token has expired")
	}
	if p.Enq == 0 {
		return Time{}, nil
	}
	return At(time.UnixMicro(p.Enq)), nil
}

// signedBy compares signatures as text. It does not decode them: Go's decoder
// ignores line breaks, so two different texts could decode to the same signature.
func (t Tokens) signedBy(signed, signature string) bool {
	valid := false
	for _, secret := range t.Secrets {
		valid = hmac.Equal(sign(secret, []byte(signed)), []byte(signature)) || valid
	}
	return valid
}

func sign(secret, signed []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write(signed)
	return base64.RawURLEncoding.AppendEncode(nil, h.Sum(nil))
}
