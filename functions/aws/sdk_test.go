package main_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/taskgate/taskgate/tests/emulators/eventsource"
	"github.com/taskgate/taskgate/tests/emulators/lambdahost"
)

// TestRequestsAreSignedWithWhatLambdaGives: credentials in the environment, or
// an endpoint that has them, asked with a token that a file may hold.
func TestRequestsAreSignedWithWhatLambdaGives(t *testing.T) {
	given := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "the-token" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, `{"AccessKeyId":"THEKEY","SecretAccessKey":"s","Token":"session","Expiration":"2999-01-01T00:00:00Z"}`)
	}))
	defer given.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("the-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, environ := range map[string][]string{
		"environment": {"AWS_ACCESS_KEY_ID=THEKEY", "AWS_SECRET_ACCESS_KEY=s", "AWS_SESSION_TOKEN=session"},
		"endpoint":    {"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + given.URL, "AWS_CONTAINER_AUTHORIZATION_TOKEN=the-token"},
		"token file":  {"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + given.URL, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=" + file},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			signed := map[string]string{} // by path: the SDK's own variables name an endpoint for each service
			services := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				if r.Header.Get("X-Amz-Security-Token") == "session" {
					signed[strings.TrimSuffix(r.URL.Path, "/")] = r.Header.Get("Authorization")
				}
				w.WriteHeader(http.StatusBadRequest)
			}))
			defer services.Close()
			host := lambdahost.Start(t, frontBinary, lambdahost.Options{Env: append([]string{
				"AWS_ENDPOINT_URL=" + services.URL + "/all", "AWS_ENDPOINT_URL_DYNAMODB=" + services.URL + "/dynamodb",
				`TASKGATE_TASKS={"default":{"BACKEND":"SQSBackend"}}`, "TASKGATE_TABLE=" + table,
				"TASKGATE_TOKEN_SECRETS=" + strings.Repeat("s", 32), "TASKGATE_API_KEYS=" + apiKey("alice"),
			}, environ...)})
			resp, err := (&eventsource.Gateway{Invoke: host.Invoke}).RoundTrip(newRequest(t, "https://x/v1/tasks", `{"task_name":"t"}`))
			if err != nil || resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%v, %v", resp, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, path := range []string{"/all", "/dynamodb"} {
				if !strings.Contains(signed[path], "Credential=THEKEY/") {
					t.Errorf("%s is not signed: %v", path, signed)
				}
			}
		})
	}
}
