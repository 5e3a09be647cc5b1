package main_test

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/blackbox"
	"github.com/taskgate/taskgate/tests/emulators/functionshost"
	"github.com/taskgate/taskgate/tests/wait"
)

// status sends a request, without an API key, and returns the answer's status.
func (c *client) status(method, path, body string, headers ...string) int {
	c.Helper()
	plain := *c
	plain.Key, plain.HTTP = "", http.DefaultClient
	status, _ := plain.send(c.Context(), method, path, body, headers...)
	return status
}

// reportStarted reports as the task's worker does, with the message's token alone.
func (c *client) reportStarted(inbox *blackbox.Inbox, id string) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), wait.Patience)
	defer cancel()
	m, err := inbox.Receive(ctx, id)
	if err != nil {
		c.Fatal(err)
	}
	event := `{"type":"started","worker_id":"w","delivery_id":"d"}`
	if status := c.status("POST", "/v1/tasks/"+id+"/events", event, "Taskgate-Token", m.Token); status != http.StatusOK {
		c.Errorf("a worker's report: %d", status)
	}
	if status := c.status("POST", "/v1/tasks/"+id+"/events", event, "Taskgate-Token", m.Token+"x"); status != http.StatusUnauthorized {
		c.Errorf("with a forged token: %d", status)
	}
}

func TestFunctionKeysOpenTheAPIButNotTheEvents(t *testing.T) {
	dir := t.TempDir()
	stage(dir, "AZURE_AUTH=function-keys")
	emulated := newCloud(t)
	settings := with(emulated.apiSettings(), "TASKGATE_AUTH", "platform", "TASKGATE_API_KEYS", "", "TASKGATE_PLATFORM_AUTH", "function_keys")
	h := functionshost.Start(t, filepath.Join(dir, "azure"), functionshost.Options{
		Settings: settings, HostKey: "of-the-host", Keys: map[string]string{"api": "of-the-function"},
	})
	inbox := blackbox.NewInbox()
	emulated.drainBus(inbox, queueName, "")
	api := newClient(t, h.URL())
	const body = `{"task_name":"t"}`
	for _, headers := range [][]string{nil, {"X-Functions-Key", "guessed"}, {"Authorization", "Bearer key-of-alice"}} {
		if status := api.status("POST", "/v1/tasks", body, headers...); status != http.StatusUnauthorized {
			t.Errorf("%q: %d", headers, status)
		}
	}
	api.Key, api.HTTP = "", http.DefaultClient // which does not know that the platform has a parameter of its own
	first := api.enqueue(body, "X-Functions-Key", "of-the-function")
	second := api.document(api.send(t.Context(), "POST", "/v1/tasks?code=of-the-host", body))
	for _, id := range []string{first.ID, second.ID} { // all keys share one caller
		if status, answer := api.send(t.Context(), "GET", "/v1/tasks/"+id+"?wait=0&code=of-the-function", ""); status != http.StatusOK {
			t.Errorf("%d %s", status, answer)
		}
	}
	api.reportStarted(inbox, first.ID)
	if status := api.status("GET", "/healthz", ""); status != http.StatusOK {
		t.Errorf("healthz: %d", status)
	}
}

func TestEasyAuthMakesEachPrincipalACaller(t *testing.T) {
	emulated := newCloud(t)
	settings := with(emulated.apiSettings(), "TASKGATE_AUTH", "platform", "TASKGATE_API_KEYS", "",
		"TASKGATE_PLATFORM_AUTH", "easy_auth", "WEBSITE_AUTH_ENABLED", "True")
	h := functionshost.Start(t, filepath.Join(staged, "azure"), functionshost.Options{Settings: settings})
	inbox := blackbox.NewInbox()
	emulated.drainBus(inbox, queueName, "")
	api := newClient(t, h.URL())
	api.Key = ""
	principal := func(id string) []string {
		return []string{"X-Ms-Client-Principal-Idp", "aad", "X-Ms-Client-Principal-Id", id, "X-Ms-Client-Principal-Name", "the same"}
	}
	if status := api.status("POST", "/v1/tasks", `{"task_name":"t"}`); status != http.StatusUnauthorized {
		t.Errorf("nobody: %d", status)
	}
	doc := api.enqueue(`{"task_name":"t"}`, principal("1")...)
	for id, want := range map[string]int{"1": http.StatusOK, "2": http.StatusNotFound} {
		if status := api.status("GET", "/v1/tasks/"+doc.ID, "", principal(id)...); status != want {
			t.Errorf("principal %s: %d", id, status)
		}
	}
	api.reportStarted(inbox, doc.ID)
}

// TestEasyAuthHeadersAreIgnoredWithoutEasyAuth: the same headers, sent by a client.
func TestEasyAuthHeadersAreIgnoredWithoutEasyAuth(t *testing.T) {
	emulated := newCloud(t)
	h := functionshost.Start(t, filepath.Join(staged, "azure"), functionshost.Options{Settings: emulated.apiSettings()})
	api := newClient(t, h.URL())
	claims := []string{"X-Ms-Client-Principal-Idp", "aad", "X-Ms-Client-Principal-Id", "alice", "X-Functions-Key", "k", "X-Forwarded-Host", "evil.example"}
	if status := api.status("GET", "/v1/tasks", "", claims...); status != http.StatusUnauthorized {
		t.Errorf("claims alone: %d", status)
	}
	doc := api.enqueue(`{"task_name":"t"}`, claims...)
	inbox := blackbox.NewInbox()
	emulated.drainBus(inbox, queueName, "")
	ctx, cancel := context.WithTimeout(t.Context(), wait.Patience)
	defer cancel()
	m, err := inbox.Receive(ctx, doc.ID)
	if want := fmt.Sprintf("https://app.azurewebsites.net/v1/tasks/%s/events", doc.ID); err != nil || m.EventsURL != want {
		t.Errorf("events_url %s, %v, want %s", m.EventsURL, err, want)
	}
	if doc.State != task.StateQueued {
		t.Errorf("%s", doc.State)
	}
}
