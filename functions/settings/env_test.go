package settings_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
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
		"url":      func(e *settings.Env) any { return e.URL(name) },
		"must url": func(e *settings.Env) any { return e.RequiredURL(name) },
		"address":  func(e *settings.Env) any { return e.Address(name, "127.0.0.1:8080") },
		"loader":   func(e *settings.Env) any { return e.Loader(name, []string{"mine"}) },
	}
	const (
		badURL   = "TASKGATE_X must be a URL such as https://tasks.example.com, without user, query and fragment"
		untidy   = "TASKGATE_X must not have white space at its ends, line breaks or other control characters"
		bom      = "TASKGATE_X must not begin with a byte order mark (U+FEFF): save the text as UTF-8 without BOM"
		number   = "TASKGATE_X is %q, but must be a whole number from 1 to 9"
		duration = "TASKGATE_X is %q, but must be a duration such as 20s, 90m or 168h; the longest unit is h"
		address  = "TASKGATE_X is %q, but must be host:port, such as 127.0.0.1:8080"
	)
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
		{"secret", "hush\n", "hush\n", untidy},
		{"secret", "\ufeffhush", "\ufeffhush", bom},
		{"string", "v\n", "v\n", untidy},
		{"string", "v\x00w", "v\x00w", untidy},
		{"choice", "b\n", "a", untidy},
		{"choice", "", "a", ""},
		{"choice", "b", "b", ""},
		{"choice", "B", "a", `TASKGATE_X is "B", but must be a, b or c`},
		{"int", "", 7, ""},
		{"int", "9", 9, ""},
		{"int", "10", 7, fmt.Sprintf(number, "10")},
		{"int", "+5", 7, fmt.Sprintf(number, "+5")},
		{"int", "05", 7, fmt.Sprintf(number, "05")},
		{"int", "0x5", 7, fmt.Sprintf(number, "0x5")},
		{"int", "٥", 7, fmt.Sprintf(number, "٥")},
		{"int", "1_0", 7, fmt.Sprintf(number, "1_0")},
		{"int", " 5", 7, untidy},
		{"int", "1.0", 7, fmt.Sprintf(number, "1.0")},
		{"duration", "", time.Hour, ""},
		{"duration", "90m", 90 * time.Minute, ""},
		{"duration", "20", time.Hour, fmt.Sprintf(duration, "20")},
		{"duration", "0", time.Hour, fmt.Sprintf(duration, "0")},
		{"duration", "7d", time.Hour, fmt.Sprintf(duration, "7d")},
		{"duration", "+20s", time.Hour, fmt.Sprintf(duration, "+20s")},
		{"duration", "-20s", time.Hour, fmt.Sprintf(duration, "-20s")},
		{"duration", ".5h", time.Hour, fmt.Sprintf(duration, ".5h")},
		{"duration", "1_0s", time.Hour, fmt.Sprintf(duration, "1_0s")},
		{"duration", "٢٠s", time.Hour, fmt.Sprintf(duration, "٢٠s")},
		{"duration", "0x10s", time.Hour, fmt.Sprintf(duration, "0x10s")},
		{"duration", "9999999h", time.Hour, fmt.Sprintf(duration, "9999999h")},
		{"duration", "20s\n", time.Hour, untidy},
		{"duration", "500ms", time.Hour, `TASKGATE_X is "500ms", but must be from 1s to 2h0m0s`},
		{"duration", "3h", time.Hour, `TASKGATE_X is "3h", but must be from 1s to 2h0m0s`},
		{"url", "", "", ""},
		{"url", "https://h/", "https://h", ""},
		{"url", "http://127.0.0.1:8080/a/b//", "http://127.0.0.1:8080/a/b", ""},
		{"url", "https://[::1]:8080", "https://[::1]:8080", ""},
		{"url", "HTTPS://h", "", badURL},
		{"url", "https://h:0", "", badURL},
		{"url", "https://h:", "", badURL},
		{"url", "https://h:080", "", badURL},
		{"url", "https://h:65536", "", badURL},
		{"url", `https://h/a\b`, "", badURL},
		{"url", "https://h..example", "", badURL},
		{"url", "https://ex%61mple", "", badURL},
		{"url", "https://h/\n", "", untidy},
		{"url", "https://<host>", "", badURL},
		{"url", "${URL}", "", "TASKGATE_X " + unresolved("${…}")},
		{"url", "h.example", "", badURL},
		{"url", "/path", "", badURL},
		{"url", "ftp://h", "", badURL},
		{"url", "https://", "", badURL},
		{"url", "https://:80", "", badURL},
		{"url", "https://h?", "", badURL},
		{"url", "https://h?q=hush", "", badURL},
		{"url", "https://h#", "", badURL},
		{"url", "https://u:hush@h", "", badURL},
		{"url", "https://h/ ", "", untidy},
		{"url", "https://h/a b", "", badURL},
		{"url", "https://h/%zz", "", badURL},
		{"must url", "https://h", "https://h", ""},
		{"must url", "", "", "TASKGATE_X is required"},
		{"must url", "h", "", badURL},
		{"address", "", "127.0.0.1:8080", ""},
		{"address", ":0", ":0", ""},
		{"address", "[::1]:80", "[::1]:80", ""},
		{"address", "8080", "127.0.0.1:8080", fmt.Sprintf(address, "8080")},
		{"address", "h:http", "127.0.0.1:8080", fmt.Sprintf(address, "h:http")},
		{"address", "h:080", "127.0.0.1:8080", fmt.Sprintf(address, "h:080")},
		{"address", "h:+80", "127.0.0.1:8080", fmt.Sprintf(address, "h:+80")},
		{"address", "h:65536", "127.0.0.1:8080", fmt.Sprintf(address, "h:65536")},
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
		"TASKGATE_ADR=", "=C:=C:\\", "broken", "TASKGATE_PORT=8080", "TASKGATE_SERVICE=x", "TASKGATE_PORT_80=tcp://10.0.0.1:80",
	})
	env.URL("TASKGATE_PUBLIC_URL")
	env.Required("TASKGATE_TABLE")
	env.Address("TASKGATE_ADDR", ":80")
	env.Int("FUNCTIONS_CUSTOMHANDLER_PORT", 0, 0, 65535)
	want := []string{
		"TASKGATE_ADR is an unknown setting; did you mean TASKGATE_ADDR?",
		"TASKGATE_PORT is an unknown setting",
		"TASKGATE_PORT_80 is an unknown setting",
		"TASKGATE_PUBLC_URL is an unknown setting; did you mean TASKGATE_PUBLIC_URL?",
		"TASKGATE_SERVICE is an unknown setting",
		"TASKGATE_WHATEVER is an unknown setting",
		"TASKGATE_public_url is an unknown setting; did you mean TASKGATE_PUBLIC_URL?",
	}
	if got := mistakes(env.Err()); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Kubernetes tells every pod where the Services of its namespace are, and ours
// may be named taskgate, taskgate-worker or the like.
func TestVariablesOfKubernetesServicesAreNoMistake(t *testing.T) {
	for _, service := range []string{"TASKGATE", "TASKGATE_WORKER", "TASKGATE_API_V2"} {
		env := settings.NewEnv([]string{
			service + "_SERVICE_HOST=10.0.0.1", service + "_SERVICE_PORT=80", service + "_SERVICE_PORT_HTTP=80", service + "_PORT=tcp://10.0.0.1:80",
			service + "_PORT_80_TCP=tcp://10.0.0.1:80", service + "_PORT_80_TCP_PROTO=tcp", service + "_PORT_80_TCP_PORT=80", service + "_PORT_80_TCP_ADDR=10.0.0.1",
			service + "_PORT_53_UDP=udp://10.0.0.1:53",
		})
		if err := env.Err(); err != nil {
			t.Errorf("%s: %v", service, err)
		}
	}
}

// All programs may share one environment. The test finds their variables where
// they are read: in the mains, this package and the example in Python.
func TestVariablesOfOurOtherProgramsAreNoMistake(t *testing.T) {
	var environ []string
	for _, pattern := range []string{"../*/*.go", "../../docs/examples/*/*.py"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, m := range regexp.MustCompile(`"(TASKGATE_[A-Z_]+)"`).FindAllStringSubmatch(string(source), -1) {
				environ = append(environ, m[1]+"=x")
			}
		}
	}
	if len(environ) < 20 {
		t.Errorf("found only %q", environ)
	}
	if err := settings.NewEnv(environ).Err(); err != nil {
		t.Error(err)
	}
}

// Every setting that holds a secret refuses a reference that the platform has
// not replaced by the secret, and a byte order mark.
func TestSecretSettingsRefuseWhatIsNotTheSecret(t *testing.T) {
	references := map[string]string{
		"@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/hush)": "@Microsoft.…(…)",
		"@microsoft.keyvault(VaultName=v;SecretName=hush)":                      "@Microsoft.…(…)",
		"@Microsoft.AppConfiguration(Endpoint=https://hush; Key=k)":             "@Microsoft.…(…)",
		"{{resolve:secretsmanager:hush:SecretString:password}}":                 "{{resolve:…}}",
		"{{resolve:ssm-secure:/hush/hush/hush/hush:1}}":                         "{{resolve:…}}",
		"{{ .Values.hush.hush.hush.hush.hush }}":                                "{{…}}",
		"arn:aws:secretsmanager:eu-west-1:123456789012:secret:hush-AbCdEf":      "arn:…",
		"arn:aws:ssm:eu-west-1:123456789012:parameter/hush":                     "arn:…",
		"arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:hush":         "arn:…",
		"${HUSH_HUSH_HUSH_HUSH_HUSH_HUSH_HUSH}":                                 "${…}",
		"${data.azurerm_key_vault_secret.hush.value}":                           "${…}",
		"$(HUSH_HUSH_HUSH_HUSH_HUSH_HUSH_HUSH)":                                 "$(…)",
		"<at least 32 random bytes, hush hush>":                                 "<…>",
	}
	secrets := map[string]func(*settings.Env){
		"TASKGATE_TOKEN_SECRETS":            func(e *settings.Env) { e.Service(aws()) },
		"TASKGATE_API_KEYS":                 func(e *settings.Env) { e.Service(aws()) },
		"TASKGATE_COSMOS_CONNECTION_STRING": func(e *settings.Env) { e.Secret("TASKGATE_COSMOS_CONNECTION_STRING") },
	}
	for value, form := range references {
		for name, read := range secrets {
			for _, value := range []string{value, value + "\n", "\ufeff" + value} {
				env := settings.NewEnv([]string{name + "=" + value, "TASKGATE_MAX_WAIT=1s"})
				read(env)
				want := name + " " + unresolved(form)
				if strings.HasPrefix(value, "\ufeff") {
					want = name + " must not begin with a byte order mark (U+FEFF): save the text as UTF-8 without BOM"
				}
				got := mistakes(env.Err())
				if !slices.Contains(got, want) || strings.Contains(strings.ToLower(strings.Join(got, " ")), "hush") {
					t.Errorf("%s=%s: got %q", name, value, got)
				}
			}
		}
	}
	for _, good := range []string{long, "${x${y${z${a${b${c${d${e${f${g${h", "p$(a b)ss{word}<hush>0123456789abcdef", "{{hush}0123456789abcdef0123456789"} {
		env := settings.NewEnv([]string{sqsTasks, "TASKGATE_TOKEN_SECRETS=" + good, "TASKGATE_API_KEYS=web:read:" + sum})
		if env.Service(aws()); env.Err() != nil {
			t.Errorf("the secret %s is refused: %v", good, env.Err())
		}
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
