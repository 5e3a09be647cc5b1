package main_test

import (
	"crypto/sha256"
	"encoding/base64"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/functions/settings"
)

func TestPrintedEntryIsUsableAndNamesThePrintedKey(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("go", "build", "-o", key, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	tests := []struct {
		args   []string
		scopes string // "" = refused
	}{
		{[]string{"web"}, "enqueue+read"},
		{[]string{"ops", "admin"}, "admin"},
		{[]string{"all", strings.Join(httpapi.Scopes(), "+")}, strings.Join(httpapi.Scopes(), "+")},
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"a:b"}, ""},
		{[]string{"a,b"}, ""},
		{[]string{" web"}, ""},
		{[]string{"web\n"}, ""},
		{[]string{"web", "read\n"}, ""},
		{[]string{"web", "+read"}, ""},
		{[]string{"web", "write"}, ""},
		{[]string{"web", "read", "admin"}, ""},
	}
	seen := map[string]bool{}
	for _, tt := range tests {
		out, err := exec.Command(key, tt.args...).Output()
		if tt.scopes == "" {
			if err == nil || len(out) > 0 {
				t.Errorf("%q: printed %s", tt.args, out)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
			continue
		}
		header, entry, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		bearer, isBearer := strings.CutPrefix(header, "Authorization: Bearer ")
		entry, isEntry := strings.CutPrefix(entry, "TASKGATE_API_KEYS=")
		random, err := base64.RawURLEncoding.DecodeString(bearer)
		if !isBearer || !isEntry || err != nil || len(random) != 32 || seen[bearer] {
			t.Fatalf("%q: printed %s", tt.args, out)
		}
		seen[bearer] = true
		keys, err := settings.ParseAPIKeys(entry)
		if err != nil || len(keys) != 1 {
			t.Fatalf("%q: entry %s: %v", tt.args, entry, err)
		}
		if k := keys[0]; k.Name != tt.args[0] || strings.Join(k.Scopes, "+") != tt.scopes || k.SHA256 != sha256.Sum256([]byte(bearer)) {
			t.Errorf("%q: printed %s", tt.args, out)
		}
	}
}
