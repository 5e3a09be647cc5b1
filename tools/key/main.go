// Command key mints an API key:
//
//	go run ./tools/key NAME [scope+scope]
//
// It prints the key, once, as the header that carries it, and the key's entry
// for TASKGATE_API_KEYS, which holds only its SHA-256.
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/functions/settings"
)

// keyBytes is how many random bytes a key has: nobody guesses it, so a plain
// hash of it may be stored.
const keyBytes = 32

func main() {
	if err := run(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "key:", err)
		os.Exit(2)
	}
}

func run(w io.Writer, args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return errors.New("usage: key NAME [scope+scope]; the scopes are enqueue, read and admin, and enqueue+read when left out")
	}
	k := httpapi.APIKey{Name: args[0], Scopes: []string{httpapi.ScopeEnqueue, httpapi.ScopeRead}}
	if len(args) == 2 {
		k.Scopes = strings.Split(args[1], "+")
	}
	random := make([]byte, keyBytes)
	rand.Read(random) // never fails: crypto/rand
	key := base64.RawURLEncoding.EncodeToString(random)
	k.SHA256 = sha256.Sum256([]byte(key))
	if keys, err := settings.ParseAPIKeys(k.String()); err != nil { // what the service would refuse is not minted
		return err
	} else if len(keys) != 1 {
		return errors.New("NAME must not have a comma")
	}
	_, err := fmt.Fprintf(w, "Authorization: Bearer %s\nTASKGATE_API_KEYS=%s\n", key, k)
	return err
}
