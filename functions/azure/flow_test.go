package main_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
	"github.com/google/uuid"

	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/tests/emulators"
	"github.com/taskgate/taskgate/tests/emulators/azureemu"
	"github.com/taskgate/taskgate/tests/emulators/functionshost"
	"github.com/taskgate/taskgate/tests/wait"
)

// apps starts both apps, each under a host of its own, the worker reporting to
// the API at the front's address; workerSettings are names and values in turns.
func apps(t *testing.T, c *cloud, worker functionshost.Options, workerSettings ...string) (api *client, apiHost, workerHost *functionshost.Host) {
	t.Helper()
	f := newFront(t)
	apiHost = functionshost.Start(t, filepath.Join(staged, "azure"), functionshost.Options{
		Settings: with(c.apiSettings(), "TASKGATE_PUBLIC_URL", f.url),
	})
	f.leadsTo(apiHost)
	worker.Settings = with(c.workerSettings(f.url), workerSettings...)
	workerHost = functionshost.Start(t, filepath.Join(staged, "azure-worker"), worker)
	return newClient(t, f.url), apiHost, workerHost
}

func TestTaskGoesThroughEachTarget(t *testing.T) {
	c := newCloud(t)
	api, apiHost, workerHost := apps(t, c, functionshost.Options{})
	t.Run("is run and looked up", func(t *testing.T) {
		for _, backend := range []string{"default", "plain", "topic", "storage"} {
			doc := api.enqueue(`{"task_name":"add","args":[12345678901234567890,1],"backend":"` + backend + `"}`)
			if doc = api.finished(doc.ID); doc.Status != task.Successful || string(doc.ReturnValue) != "12345678901234567891" {
				t.Errorf("%s: %s %s %v", backend, doc.Status, doc.ReturnValue, doc.Errors)
			}
		}
	})
	t.Run("is delivered again when it fails", func(t *testing.T) {
		for _, backend := range []string{"default", "topic", "storage"} {
			doc := api.enqueue(`{"task_name":"flaky","backend":"` + backend + `"}`)
			if doc = api.finished(doc.ID); doc.Status != task.Successful || doc.Attempts != 2 {
				t.Errorf("%s: %s after %d attempts, %v", backend, doc.Status, doc.Attempts, doc.Errors)
			}
		}
	})
	t.Run("large arguments come by another way", func(t *testing.T) {
		text := strings.Repeat("x", 300<<10)
		for _, backend := range []string{"default", "topic", "storage"} {
			doc := api.enqueue(`{"task_name":"echo","args":["` + text + `"],"backend":"` + backend + `"}`)
			if doc = api.finished(doc.ID); doc.Status != task.Successful || !strings.Contains(string(doc.ReturnValue), text) {
				t.Errorf("%s: %s %.100s %v", backend, doc.Status, doc.ReturnValue, doc.Errors)
			}
		}
	})
	t.Run("is FAILED when its queue gives up on it", func(t *testing.T) {
		for _, backend := range []string{"default", "topic", "storage"} {
			doc := api.enqueue(`{"task_name":"no-such-task","backend":"` + backend + `"}`)
			if doc = api.finished(doc.ID); doc.Status != task.Failed || doc.Attempts != 10 {
				t.Errorf("%s: %s after %d attempts", backend, doc.Status, doc.Attempts)
			}
		}
	})
	t.Run("cannot be handed to a worker from outside", func(t *testing.T) {
		message := `{"Data":{"message":"{}"},"Metadata":{}}`
		for name := range bindings(t, filepath.Join(staged, "azure-worker")) {
			for _, h := range []*functionshost.Host{apiHost, workerHost} {
				for _, path := range []string{"/" + name, "/api/" + name, "/v1/../" + name, "/" + strings.ToUpper(name)} {
					outside := newClient(t, h.URL())
					outside.HTTP = http.DefaultClient
					if status, answer := outside.send(t.Context(), "POST", path, message); status != http.StatusNotFound {
						t.Errorf("POST %s: %d %s", path, status, answer)
					}
				}
			}
		}
		if strings.Contains(workerHost.Log(), "message refused") {
			t.Errorf("a worker was reached: %s", workerHost.Log())
		}
	})
}

func TestTaskSurvivesAKilledHandler(t *testing.T) {
	c := newCloud(t)
	api, apiHost, workerHost := apps(t, c, functionshost.Options{Plain: true}) // payloads as they are documented
	ctx, cancel := context.WithTimeout(t.Context(), wait.Patience)
	defer cancel()
	id := api.enqueue(`{"task_name":"add","args":[1,2],"delay_seconds":1}`).ID
	apiHost.KillHandler()
	workerHost.KillHandler()
	for _, h := range []*functionshost.Host{apiHost, workerHost} {
		if err := h.AwaitStart(ctx, 2); err != nil {
			t.Fatal(err)
		}
	}
	if doc := api.finished(id); string(doc.ReturnValue) != "3" {
		t.Errorf("%s %v", doc.Status, doc.Errors)
	}
}

// TestTaskBeyondTheHostsTimeoutEndsAlone: the host would kill the process, and
// every task in it.
func TestTaskBeyondTheHostsTimeoutEndsAlone(t *testing.T) {
	c := newCloud(t)
	api, _, _ := apps(t, c, functionshost.Options{}, "AzureFunctionsJobHost__functionTimeout", "00:00:08")
	long := api.enqueue(`{"task_name":"sleep","args":[40],"backend":"storage","max_attempts":1}`)
	api.until("the long task to have run for 4 s", func() bool {
		doc := api.document(api.send(t.Context(), "GET", "/v1/tasks/"+long.ID, ""))
		return doc.Progress != nil && doc.Progress.Fraction >= 0.1
	})
	short := api.finished(api.enqueue(`{"task_name":"sleep","args":[5],"backend":"storage"}`).ID)
	if short.Status != task.Successful || short.Attempts != 1 {
		t.Errorf("the other task: %s after %d attempts", short.Status, short.Attempts)
	}
	long = api.finished(long.ID)
	if long.Status != task.Failed || len(long.Errors) != 1 || !strings.Contains(long.Errors[0].Traceback, "the worker is stopping") {
		t.Errorf("the long task: %s, %v", long.Status, long.Errors)
	}
}

// TestServiceThatWasAwayIsUsedAgain: while an emulator is away, enqueueing is refused
// in time; once it is back, the same key goes through, to one record.
func TestServiceThatWasAwayIsUsedAgain(t *testing.T) {
	c := newCloud(t)
	h := functionshost.Start(t, filepath.Join(staged, "azure"), functionshost.Options{Settings: c.apiSettings()})
	api := newClient(t, h.URL())
	for _, away := range []struct {
		name, backend string
		emulator      *emulators.Endpoint
		again         func() // what a restart forgets
	}{
		{"Service Bus", "default", c.bus, func() {}},
		{"the storage account", "storage", c.storage, c.createQueues},
		{"Cosmos DB", "default", c.cosmos, c.createContainer},
	} {
		body := `{"task_name":"t","backend":"` + away.backend + `"}`
		api.enqueue(body)
		away.emulator.Kill()
		key, start := uuid.NewString(), time.Now()
		status, answer := api.send(t.Context(), "POST", "/v1/tasks", body, "Idempotency-Key", key)
		if status != http.StatusServiceUnavailable {
			t.Errorf("%s is away: %d %s", away.name, status, answer)
		}
		refused := time.Since(start)
		away.emulator.Restart()
		away.again()
		start = time.Now()
		var doc task.Document
		api.until(away.name+" to be found again", func() bool {
			status, answer := api.send(t.Context(), "POST", "/v1/tasks", body, "Idempotency-Key", key)
			if status == http.StatusAccepted {
				doc = api.document(status, answer)
			}
			return status == http.StatusAccepted
		})
		t.Logf("%s: refused after %v, accepted %v after its return", away.name, refused.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
		if want := task.KeyedID("alice", key); doc.ID != want {
			t.Errorf("%s: the record is %s, want %s", away.name, doc.ID, want)
		}
	}
}

// TestTheDocumentedQueryFindsAResult runs the query of docs/azure.md.
func TestTheDocumentedQueryFindsAResult(t *testing.T) {
	guide, err := os.ReadFile("../../docs/azure.md")
	if err != nil {
		t.Fatal(err)
	}
	query := regexp.MustCompile(`(?m)^SELECT .* FROM c .*$`).FindString(string(guide))
	if !strings.Contains(query, "<id>") {
		t.Fatalf("docs/azure.md has the query %q", query)
	}
	c := newCloud(t)
	api, _, _ := apps(t, c, functionshost.Options{})
	doc := api.finished(api.enqueue(`{"task_name":"add","args":[1,2]}`).ID)
	client, err := azcosmos.NewClientFromConnectionString(azureemu.CosmosConnectionString(c.cosmos.URL()), nil)
	if err != nil {
		t.Fatal(err)
	}
	container, err := client.NewContainer("taskgate", "tasks")
	if err != nil {
		t.Fatal(err)
	}
	pages := container.NewQueryItemsPager(strings.ReplaceAll(query, "<id>", doc.ID), azcosmos.NewPartitionKey(), nil)
	page, err := pages.NextPage(t.Context())
	if err != nil || len(page.Items) != 1 {
		t.Fatalf("%d items, %v", len(page.Items), err)
	}
	for _, want := range []string{`"id":"` + doc.ID + `"`, `"status":"SUCCESSFUL"`, `"return_value":"3"`, `"task_name":"add"`} {
		if !strings.Contains(string(page.Items[0]), want) {
			t.Errorf("%s is not in %s", want, page.Items[0])
		}
	}
}
