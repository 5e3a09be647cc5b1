package wiring_test

import (
	"crypto/sha256"
	"log/slog"
	"net/http"
	"testing"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/functions/settings"
	"github.com/taskgate/taskgate/functions/wiring"
)

// Each mode of TASKGATE_AUTH believes its own kind of credential and no other.
func TestEachAuthModeAcceptsOnlyItsOwnCredential(t *testing.T) {
	withKey, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	withKey.Header.Set("Authorization", "Bearer secret")
	byPlatform := withKey.Clone(httpapi.WithGateway(t.Context(), httpapi.Gateway{Caller: "platform-user"}))
	byPlatform.Header.Del("Authorization")
	keys := []httpapi.APIKey{{Name: "key-user", Scopes: []string{httpapi.ScopeRead}, SHA256: sha256.Sum256([]byte("secret"))}}
	for _, tt := range []struct {
		mode                settings.Auth
		withKey, byPlatform string // the caller's name; "" = refused
	}{
		{settings.AuthKeys, "key-user", ""},
		{settings.AuthPlatform, "", "platform-user"},
		{settings.AuthNone, "local", "local"},
	} {
		api := wiring.API(settings.Service{Auth: tt.mode, APIKeys: keys}, nil, 0, nil, slog.New(slog.DiscardHandler))
		for r, want := range map[*http.Request]string{withKey: tt.withKey, byPlatform: tt.byPlatform} {
			caller, err := api.Auth(r)
			if caller.Name != want || (err != nil) != (want == "") {
				t.Errorf("%s: got caller %q, %v; want %q", tt.mode, caller.Name, err, want)
			}
		}
	}
}
