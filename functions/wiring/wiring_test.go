package wiring_test

import (
	"bytes"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"slices"
	"strings"
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

func TestAdminsOfThePlatformHaveTheScopeAdmin(t *testing.T) {
	auth := wiring.API(settings.Service{Auth: settings.AuthPlatform, Admins: []string{"ops"}}, nil, 0, nil, slog.New(slog.DiscardHandler)).Auth
	for name, want := range map[string][]string{
		"ops":   {httpapi.ScopeEnqueue, httpapi.ScopeRead, httpapi.ScopeAdmin},
		"Ops":   {httpapi.ScopeEnqueue, httpapi.ScopeRead},
		"alice": {httpapi.ScopeEnqueue, httpapi.ScopeRead},
		"":      nil, // nobody
	} {
		r, err := http.NewRequestWithContext(httpapi.WithGateway(t.Context(), httpapi.Gateway{Caller: name}), http.MethodGet, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if caller, err := auth(r); !slices.Equal(caller.Scopes, want) || (err != nil) != (name == "") {
			t.Errorf("%q: got %q, %v; want %q", name, caller.Scopes, err, want)
		}
	}
}

// What the settings hold without effect is in the log, once each.
func TestEveryWarningAboutTheSettingsIsLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	tasks := settings.Tasks{Warnings: []string{"one", "two"}, PassedOver: map[string]string{"dummy": "why"}}
	api := wiring.API(settings.Service{Tasks: tasks}, nil, 0, nil, slog.New(slog.NewTextHandler(&log, nil)))
	for _, warning := range tasks.Warnings {
		if n := strings.Count(log.String(), "level=WARN msg=\"a setting has no effect\" reason="+warning); n != 1 {
			t.Errorf("%q is logged %d times:\n%s", warning, n, log.String())
		}
	}
	if api.Service.PassedOver["dummy"] != "why" {
		t.Error("the service does not know why the backend is passed over")
	}
}
