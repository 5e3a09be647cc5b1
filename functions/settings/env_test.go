package settings_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskgate/taskgate/functions/settings"
)

func TestGettersTakeWhatTheyDocumentAndNothingElse(t *testing.T) {
	const name = "TASKGATE_X"
	get := map[string]func(*settings.Env) any{
		"string":   func(e *settings.Env) any { return e.String(name, "fallback") },
		"required": func(e *settings.Env) any { return e.Required(name) },
		"secret":   func(e *settings.Env) any { return string(e.Secret(name)) },
		"choice":   func(e *settings.Env) any { return e.Choice(name, "a", "b", "c") },
		"int":      func(e *settings.Env) any { return e.Int(name, 7, 1, 9) },
		"duration": func(e *settings.Env) any { return e.Duration(name, time.Hour, time.Second, 2*time.Hour) },
		"open":     func(e *settings.Env) any { return e.Duration(name, time.Hour, time.Second, 0) },
		"url":      func(e *settings.Env) any { return e.URL(name) },
		"must url": func(e *settings.Env) any { return e.RequiredURL(name) },
		"address":  func(e *settings.Env) any { return e.Address(name, "127.0.0.1:8080") },
		"loader":   func(e *settings.Env) any { return e.Loader(name, []string{"mine"}) },
	}
	const badURL = "TASKGATE_X must be an absolute http or https URL without user, query and fragment"
	tests := []struct {
		getter, value string
		want          any
		mistake       string
	}{
		{"string", "", "fallback", ""},
		{"string", "v=w", "v=w", ""},
		{"required", "v", "v", ""},
		{"required", "", "", "TASKGATE_X is required"},
		{"secret", "", "", ""},
		{"secret", "hush", "hush", ""},
		{"choice", "", "a", ""},
		{"choice", "b", "b", ""},
		{"choice", "B", "a", `TASKGATE_X is "B", and must be a, b or c`},
		{"int", "", 7, ""},
		{"int", "9", 9, ""},
		{"int", "10", 7, `TASKGATE_X is "10", and must be a whole number from 1 to 9`},
		{"int", "1.0", 7, `TASKGATE_X is "1.0", and must be a whole number from 1 to 9`},
		{"duration", "", time.Hour, ""},
		{"duration", "90m", 90 * time.Minute, ""},
		{"duration", "20", time.Hour, `TASKGATE_X is "20", and must be a duration with a unit, such as 20s or 168h`},
		{"duration", "0", time.Hour, `TASKGATE_X is "0", and must be from 1s to 2h0m0s`},
		{"duration", "3h", time.Hour, `TASKGATE_X is "3h", and must be from 1s to 2h0m0s`},
		{"open", "9000h", 9000 * time.Hour, ""},
		{"open", "-1h", time.Hour, `TASKGATE_X is "-1h", and must be at least 1s`},
		{"url", "", "", ""},
		{"url", "https://h/", "https://h", ""},
		{"url", "http://127.0.0.1:8080/a/b//", "http://127.0.0.1:8080/a/b", ""},
		{"url", "h.example", "", badURL},
		{"url", "/path", "", badURL},
		{"url", "ftp://h", "", badURL},
		{"url", "https://", "", badURL},
		{"url", "https://:80", "", badURL},
		{"url", "https://h?", "", badURL},
		{"url", "https://h?q=hush", "", badURL},
		{"url", "https://h#", "", badURL},
		{"url", "https://u:hush@h", "", badURL},
		{"url", "https://h/ ", "", badURL},
		{"url", "https://h/%zz", "", badURL},
		{"must url", "https://h", "https://h", ""},
		{"must url", "", "", "TASKGATE_X is required"},
		{"must url", "h", "", badURL},
		{"address", "", "127.0.0.1:8080", ""},
		{"address", ":0", ":0", ""},
		{"address", "[::1]:80", "[::1]:80", ""},
		{"address", "8080", "127.0.0.1:8080", `TASKGATE_X is "8080", and must be host:port`},
		{"address", "h:http", "127.0.0.1:8080", `TASKGATE_X is "h:http", and must be host:port`},
		{"address", "h:65536", "127.0.0.1:8080", `TASKGATE_X is "h:65536", and must be host:port`},
		{"loader", "", "default", ""},
		{"loader", "mine", "mine", ""},
		{"loader", "workload_identity", "workload_identity", ""},
		{"loader", "enviroment", "default", "TASKGATE_X must be default, managed_identity, workload_identity, azure_cli, environment or mine; did you mean environment?"},
	}
	for _, tt := range tests {
		for _, environ := range [][]string{{name + "=" + tt.value}, {}} {
			if len(environ) == 0 && tt.value != "" {
				continue // unset and empty are the same
			}
			env := settings.NewEnv(environ)
			got := get[tt.getter](env)
			var want []string
			if tt.mistake != "" {
				want = []string{tt.mistake}
			}
			if errs := mistakes(env.Err()); got != tt.want || !slices.Equal(errs, want) {
				t.Errorf("%s of %q: got %v, %q; want %v, %q", tt.getter, environ, got, errs, tt.want, tt.mistake)
			}
		}
	}
}

func TestLoopbackIsThisMachineAlone(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:8080": true, "127.9.9.9:1": true, "[::1]:80": true, "[::ffff:127.0.0.1]:80": true, "localhost:80": true,
		":8080": false, "0.0.0.0:80": false, "[::]:80": false, "10.0.0.1:80": false, "localhost.example:80": false, "127.0.0.1": false,
	} {
		if got := settings.Loopback(address); got != want {
			t.Errorf("%s: got %v", address, got)
		}
	}
}

func TestUnknownVariablesAreReportedWithTheNearestName(t *testing.T) {
	env := settings.NewEnv([]string{
		"TASKGATE_PUBLC_URL=https://h", "TASKGATE_public_url=", "TASKGATE_WHATEVER=1", "TASKGATE_TABLE=t", "TASK=x", "PATH=/bin",
		"TASKGATE_ADR=", "=C:=C:\\", "broken",
	})
	env.URL("TASKGATE_PUBLIC_URL")
	env.Required("TASKGATE_TABLE")
	env.Address("TASKGATE_ADDR", ":80")
	env.Int("FUNCTIONS_CUSTOMHANDLER_PORT", 0, 0, 65535)
	want := []string{
		"unknown variable TASKGATE_ADR; did you mean TASKGATE_ADDR?",
		"unknown variable TASKGATE_PUBLC_URL; did you mean TASKGATE_PUBLIC_URL?",
		"unknown variable TASKGATE_WHATEVER",
		"unknown variable TASKGATE_public_url; did you mean TASKGATE_PUBLIC_URL?",
	}
	if got := mistakes(env.Err()); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	options := &settings.ServiceBusOptions{ConnectionString: "hush"}
	encoded, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("", "secret", options.ConnectionString, "options", options)
	shown := string(encoded) + log.String() + fmt.Sprintf("%v %+v %#v %s %q %x", options, options, options,
		options.ConnectionString, options.ConnectionString, options.ConnectionString)
	if strings.Contains(shown, "hush") || strings.Contains(shown, fmt.Sprintf("%x", "hush")) {
		t.Error(shown)
	}
}
