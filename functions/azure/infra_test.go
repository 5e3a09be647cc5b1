package main_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/adapters/azure/cosmosstore"
)

// values returns the quoted values of an argument, in the text of a block.
func values(block, argument string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^\s*`+argument+`\s*=\s*\[?"?([^"\s\]]+)`).FindAllStringSubmatch(block, -1) {
		all = append(all, m[1])
	}
	return all
}

// block returns what is in the braces after a header, which may have blocks in it.
func block(text, header string) string {
	_, rest, found := strings.Cut(text, header+" {")
	if !found {
		return ""
	}
	depth := 1
	for i, r := range rest {
		switch r {
		case '{':
			depth++
		case '}':
			depth--
		}
		if depth == 0 {
			return rest[:i]
		}
	}
	return ""
}

func TestTheContainerInAzureIsTheOneThatTheStoreDescribes(t *testing.T) {
	text, err := os.ReadFile("../../infra/azure/cosmos.tf")
	if err != nil {
		t.Fatal(err)
	}
	container := block(string(text), `resource "azurerm_cosmosdb_sql_container" "tasks"`)
	policy := block(container, "indexing_policy")
	want := cosmosstore.Container("tasks")
	got := map[string][]string{
		"name": values(container, "name"), "key": values(container, "partition_key_paths"), "version": values(container, "partition_key_version"),
		"ttl": values(container, "default_ttl"), "mode": values(policy, "indexing_mode"),
		"excluded": values(block(policy, "excluded_path"), "path"), "orders": values(block(policy, "composite_index"), "order"),
		"composite": values(block(policy, "composite_index"), "path"),
	}
	for rest := policy; strings.Contains(rest, "included_path {"); _, rest, _ = strings.Cut(rest, "included_path {") {
		got["included"] = append(got["included"], values(block(rest, "included_path"), "path")...)
	}
	index := want.IndexingPolicy
	expected := map[string][]string{
		"name": {want.ID}, "key": want.PartitionKeyDefinition.Paths, "version": {"2"}, "ttl": {"-1"},
		"mode": {strings.ToLower(string(index.IndexingMode))},
	}
	for _, p := range index.IncludedPaths {
		expected["included"] = append(expected["included"], p.Path)
	}
	for _, p := range index.ExcludedPaths {
		expected["excluded"] = append(expected["excluded"], p.Path)
	}
	if len(index.CompositeIndexes) != 1 || len(index.SpatialIndexes) != 0 || len(index.CompositeIndexes[0]) == 0 {
		t.Fatalf("the store's policy has grown: %+v", index)
	}
	for _, c := range index.CompositeIndexes[0] {
		order := strings.ToLower(string(c.Order))
		expected["composite"] = append(expected["composite"], c.Path)
		expected["orders"] = append(expected["orders"], strings.ToUpper(order[:1])+order[1:])
	}
	if want.PartitionKeyDefinition.Version != 2 || *want.DefaultTimeToLive != -1 {
		t.Errorf("the store's definition is %+v", want)
	}
	for what, value := range expected {
		if !slices.Equal(got[what], value) {
			t.Errorf("%s: infra/azure has %q, the store %q", what, got[what], value)
		}
	}
	if len(got) != len(expected) {
		t.Errorf("infra/azure has %v", got)
	}
}

// TestTheQueuesInAzureGiveUpWhenTheWorkerExpectsIt: and duplicates are found,
// and what is given up on is kept.
func TestTheQueuesInAzureGiveUpWhenTheWorkerExpectsIt(t *testing.T) {
	text, err := os.ReadFile("../../infra/azure/queues.tf")
	if err != nil {
		t.Fatal(err)
	}
	var host struct {
		Extensions struct {
			Queues     struct{ MaxDequeueCount json.Number }
			ServiceBus struct{ AutoCompleteMessages bool }
		}
	}
	readJSON(t, "../azure-worker/host.json", &host)
	if most := values(string(text), "max_deliveries"); !slices.Equal(most, []string{host.Extensions.Queues.MaxDequeueCount.String()}) {
		t.Errorf("Service Bus gives up after %q, Storage queues after %s", most, host.Extensions.Queues.MaxDequeueCount)
	}
	if !host.Extensions.ServiceBus.AutoCompleteMessages {
		t.Error("nobody completes a message")
	}
	for header, wanted := range map[string][]string{
		`resource "azurerm_servicebus_queue" "tasks"`:         {"requires_duplicate_detection", "dead_lettering_on_message_expiration"},
		`resource "azurerm_servicebus_topic" "tasks"`:         {"requires_duplicate_detection"},
		`resource "azurerm_servicebus_subscription" "worker"`: {"dead_lettering_on_message_expiration"},
	} {
		for _, argument := range wanted {
			if got := values(block(string(text), header), argument); !slices.Equal(got, []string{"true"}) {
				t.Errorf("%s: %s is %q", header, argument, got)
			}
		}
	}
	for _, name := range values(string(text), "max_delivery_count") {
		if name != "local.max_deliveries" {
			t.Errorf("max_delivery_count is %s", name)
		}
	}
}

// TestWhatInfraSetsIsWhatTheAppsRead: each setting and option by its name.
func TestWhatInfraSetsIsWhatTheAppsRead(t *testing.T) {
	text, err := os.ReadFile("../../infra/azure/main.tf")
	if err != nil {
		t.Fatal(err)
	}
	names := func(in, pattern string) []string {
		var all []string
		for _, m := range regexp.MustCompile(`(?m)^\s+(?:`+pattern+`)\w+`).FindAllString(in, -1) {
			all = append(all, strings.TrimSpace(m))
		}
		if len(all) == 0 {
			t.Errorf("there is no %s", pattern)
		}
		return all
	}
	settings := map[string]string{}
	for _, name := range names(block(block(string(text), "settings ="), "api ="), "TASKGATE_") {
		settings[name] = "x"
	}
	tasks := map[string]any{}
	for _, alias := range []string{"default", "topic", "storage"} {
		in := block(block(string(text), "tasks ="), alias+" =")
		options := map[string]any{}
		for _, m := range regexp.MustCompile(`(?:SERVICEBUS|STORAGE_ACCOUNT)_\w+`).FindAllString(in+block(string(text), "service_bus ="), -1) {
			if strings.HasPrefix(m, "STORAGE") == (alias == "storage") {
				options[m] = "x"
			}
		}
		tasks[alias] = map[string]any{"BACKEND": values(in, "BACKEND")[0], "OPTIONS": options}
	}
	inline, err := json.Marshal(tasks)
	if err != nil {
		t.Fatal(err)
	}
	settings["TASKGATE_TASKS"] = string(inline)
	// Every value is wrong, so it does not start; every name must be known.
	if out := refuses(t, settings); strings.Contains(out, "unknown") || strings.Contains(out, "leaves out") {
		t.Errorf("%s\n%v", out, settings)
	}
	for _, name := range names(block(block(string(text), "settings ="), "worker ="), "TASKGATE_") {
		if name != "TASKGATE_EVENTS_BASE" {
			t.Errorf("the worker does not read %s", name)
		}
	}
}
