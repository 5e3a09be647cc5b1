// Command key makes an API key:
//
//	go run ./tools/key NAME [scope+scope]
//
// It prints two lines. The first is the header that a client sends; it holds
// the key, which is stored nowhere else. The second is the entry for
// TASKGATE_API_KEYS; it holds only the SHA-256 of the key.
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

// keyBytes is the number of random bytes in a key. Nobody can guess that many, so
// storing a plain hash is safe.
const keyBytes = 32

func main() {
	if err := run(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "key:", err)
		os.Exit(2)
	}
}

func run(w io.Writer, args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("usage: key NAME [scope+scope]; the scopes are %s, and the default is enqueue+read", strings.Join(httpapi.Scopes(), ", "))
	}
	k := httpapi.APIKey{Name: args[0], Scopes: []string{httpapi.ScopeEnqueue, httpapi.ScopeRead}}
	if len(args) == 2 {
		k.Scopes = strings.Split(args[1], "+")
	}
	random := make([]byte, keyBytes)
	rand.Read(random) // never fails: crypto/rand
	key := base64.RawURLEncoding.EncodeToString(random)
	k.SHA256 = sha256.Sum256([]byte(key))
	// The service must read the entry as this very key.
	keys, err := settings.ParseAPIKeys(k.String())
	if err != nil {
		return err
	}
	if len(keys) != 1 || keys[0].String() != k.String() {
		return errors.New("NAME must have no commas and no white space")
	}
	_, err = fmt.Fprintf(w, "Authorization: Bearer %s\nTASKGATE_API_KEYS=%s\n", key, k)
	return err
}
