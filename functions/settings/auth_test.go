package settings_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/functions/settings"
)

func TestAPIKeysAreReadWithTheirScopes(t *testing.T) {
	other := strings.Repeat("AB", 32)
	got, err := settings.ParseAPIKeys("web:enqueue+read:" + sum + " , web:admin:" + other + ",ops@example.com:read:" + strings.Repeat("0", 64) + "\r\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"web:enqueue+read:" + sum, "web:admin:" + strings.ToLower(other), "ops@example.com:read:" + strings.Repeat("0", 64)}
	for i, k := range got {
		if i >= len(want) || k.String() != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	if len(got) != 3 || got[0].Name != "web" || !reflect.DeepEqual(got[0].Scopes, []string{httpapi.ScopeEnqueue, httpapi.ScopeRead}) {
		t.Errorf("got %v", got)
	}
}

// hush stands where a key may have been put by mistake: no error may quote it.
func TestMalformedAPIKeysAreNamedByTheirPlaceAlone(t *testing.T) {
	const (
		form  = "must be name:scope+scope:sha256hex; make key prints such an entry"
		named = "must begin with a name of 1 to 64 letters, digits and any of . _ - @"
		hash  = "must end with the SHA-256 of the key in 64 hex digits, not with the key"
	)
	scope := "has an unknown scope; the scopes are " + strings.Join(httpapi.Scopes(), ", ") + ", joined by +"
	tests := []struct{ entry, want string }{
		{"", form},
		{"\ufeffweb:read:" + sum, named},
		{"web:read:" + sum + "\u00a0", hash},
		{"hush", form},
		{"web:hush", form},
		{"web:read:" + sum + ":hush", form},
		{":read:" + sum, named},
		{"hush hush:read:" + sum, named},
		{strings.Repeat("n", 65) + ":read:" + sum, named},
		{"web::" + sum, scope},
		{"web:hush:" + sum, scope},
		{"web:Read:" + sum, scope},
		{"web:read+:" + sum, scope},
		{"web:read+enqueue+read:" + sum, "repeats a scope"},
		{"web:read:hush", hash},
		{"web:read:" + sum[1:], hash},
		{"web:read:" + sum + "00", hash},
		{"web:read:" + strings.Repeat("g", 64), hash},
		{"web:read:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "has the SHA-256 of an empty key"},
		{"first:read:" + strings.ToUpper(strings.Repeat("cd", 32)), "has the key of an earlier entry"},
	}
	for _, tt := range tests {
		_, err := settings.ParseAPIKeys("first:read:" + strings.Repeat("cd", 32) + "," + tt.entry)
		want := []string{"entry 2 of TASKGATE_API_KEYS " + tt.want}
		if got := mistakes(err); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", tt.entry, got, want)
		}
	}
}

func TestTokenSecretsHaveTheirLeastLength(t *testing.T) {
	got, err := settings.ParseTokenSecrets(long + "," + long[:31] + ", " + long + "x ,")
	want := []string{
		"entry 2 of TASKGATE_TOKEN_SECRETS has 31 bytes, but must have at least 32",
		"entry 4 of TASKGATE_TOKEN_SECRETS has 0 bytes, but must have at least 32",
	}
	if m := mistakes(err); !slices.Equal(m, want) {
		t.Errorf("got %q", m)
	}
	if len(got) != 2 || string(got[0]) != long || string(got[1]) != long+"x" {
		t.Errorf("got %q", got)
	}
}
