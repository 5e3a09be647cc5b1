package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"github.com/taskgate/taskgate/adapters/azure/cosmosstore"
)

// These tests read infra/azure without Terraform, so they run everywhere. `make
// azure-check` plans it with Terraform and the azurerm provider's own schema.

// terraform is the files of infra/azure.
type terraform struct {
	blocks hclsyntax.Blocks
	source map[string][]byte // by file name
}

func readTerraform(t *testing.T) terraform {
	t.Helper()
	files, err := filepath.Glob("../../infra/azure/*.tf")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	tf := terraform{source: map[string][]byte{}}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, diagnostics := hclsyntax.ParseConfig(text, file, hcl.InitialPos)
		if diagnostics.HasErrors() {
			t.Fatal(diagnostics)
		}
		tf.blocks = append(tf.blocks, parsed.Body.(*hclsyntax.Body).Blocks...)
		tf.source[file] = text
	}
	return tf
}

// block returns the body of the only block with a type and labels.
func (tf terraform) block(t *testing.T, kind string, labels ...string) *hclsyntax.Body {
	t.Helper()
	found := inner(&hclsyntax.Body{Blocks: tf.blocks}, kind, labels...)
	if len(found) != 1 {
		t.Fatalf("infra/azure has %d blocks %s %q", len(found), kind, labels)
	}
	return found[0]
}

// inner returns the bodies of a body's blocks with a type and labels.
func inner(body *hclsyntax.Body, kind string, labels ...string) (found []*hclsyntax.Body) {
	for _, b := range body.Blocks {
		if b.Type == kind && slices.Equal(b.Labels, labels) {
			found = append(found, b.Body)
		}
	}
	return found
}

// local returns the expression of a local value.
func (tf terraform) local(t *testing.T, name string) hclsyntax.Expression {
	t.Helper()
	for _, b := range tf.blocks {
		if b.Type == "locals" && b.Body.Attributes[name] != nil {
			return b.Body.Attributes[name].Expr
		}
	}
	t.Fatalf("infra/azure has no local value %s", name)
	return nil
}

// text returns an expression as it is written.
func (tf terraform) text(e hclsyntax.Expression) string {
	r := e.Range()
	return string(tf.source[r.Filename][r.Start.Byte:r.End.Byte])
}

// argument returns an argument as it is written; "" = it is absent.
func (tf terraform) argument(body *hclsyntax.Body, name string) string {
	if a := body.Attributes[name]; a != nil {
		return tf.text(a.Expr)
	}
	return ""
}

// object returns the members of an object as they are written. Of a call, it is
// the object that is the last argument.
func (tf terraform) object(t *testing.T, e hclsyntax.Expression) map[string]hclsyntax.Expression {
	t.Helper()
	if call, ok := e.(*hclsyntax.FunctionCallExpr); ok {
		e = call.Args[len(call.Args)-1]
	}
	object, ok := e.(*hclsyntax.ObjectConsExpr)
	if !ok {
		t.Fatalf("%s is not an object", tf.text(e))
	}
	members := map[string]hclsyntax.Expression{}
	for _, item := range object.Items {
		members[hcl.ExprAsKeyword(item.KeyExpr.(*hclsyntax.ObjectConsKeyExpr).Wrapped)] = item.ValueExpr
	}
	return members
}

// literals returns the constant values of an argument, as text.
func literals(t *testing.T, body *hclsyntax.Body, name string) (all []string) {
	t.Helper()
	a := body.Attributes[name]
	if a == nil {
		t.Fatalf("there is no argument %s", name)
	}
	v, diagnostics := a.Expr.Value(nil)
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	values := []cty.Value{v}
	if v.Type().IsTupleType() {
		values = v.AsValueSlice()
	}
	for _, v := range values {
		switch v.Type() {
		case cty.String:
			all = append(all, v.AsString())
		case cty.Number:
			all = append(all, v.AsBigFloat().Text('f', -1))
		case cty.Bool:
			all = append(all, strconv.FormatBool(v.True()))
		}
	}
	return all
}

func TestContainerInAzureMatchesTheStoreDefinition(t *testing.T) {
	container := readTerraform(t).block(t, "resource", "azurerm_cosmosdb_sql_container", "tasks")
	policy := inner(container, "indexing_policy")[0]
	want := cosmosstore.Container("tasks")
	got := map[string][]string{
		"name": literals(t, container, "name"), "key": literals(t, container, "partition_key_paths"), "version": literals(t, container, "partition_key_version"),
		"ttl": literals(t, container, "default_ttl"), "mode": literals(t, policy, "indexing_mode"),
	}
	for _, path := range inner(policy, "included_path") {
		got["included"] = append(got["included"], literals(t, path, "path")...)
	}
	for _, path := range inner(policy, "excluded_path") {
		got["excluded"] = append(got["excluded"], literals(t, path, "path")...)
	}
	for _, composite := range inner(policy, "composite_index") {
		for _, index := range inner(composite, "index") {
			got["composite"] = append(got["composite"], literals(t, index, "path")...)
			got["orders"] = append(got["orders"], literals(t, index, "order")...)
		}
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
		t.Fatalf("this test does not compare all of the store's indexing policy: %+v", index)
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

// TestQueuesInAzureDeadLetterWhenTheWorkerExpectsIt: after the same number of
// deliveries on every queue. Duplicates are found, and expired messages are kept.
func TestQueuesInAzureDeadLetterWhenTheWorkerExpectsIt(t *testing.T) {
	tf := readTerraform(t)
	var host struct {
		Extensions struct {
			Queues     struct{ MaxDequeueCount json.Number }
			ServiceBus struct{ AutoCompleteMessages bool }
		}
	}
	readJSON(t, "../azure-worker/host.json", &host)
	if got := tf.text(tf.local(t, "max_deliveries")); got != host.Extensions.Queues.MaxDequeueCount.String() {
		t.Errorf("Service Bus delivers a message %s times, and the host a Storage queue's message %s times", got, host.Extensions.Queues.MaxDequeueCount)
	}
	if !host.Extensions.ServiceBus.AutoCompleteMessages {
		t.Error("the host does not complete messages")
	}
	for kind, wanted := range map[[2]string][]string{
		{"azurerm_servicebus_queue", "tasks"}:         {"requires_duplicate_detection", "dead_lettering_on_message_expiration"},
		{"azurerm_servicebus_topic", "tasks"}:         {"requires_duplicate_detection"},
		{"azurerm_servicebus_subscription", "worker"}: {"dead_lettering_on_message_expiration"},
	} {
		body := tf.block(t, "resource", kind[:]...)
		for _, name := range wanted {
			if got := tf.argument(body, name); got != "true" {
				t.Errorf("%s: %s is %q", kind, name, got)
			}
		}
		if got := tf.argument(body, "max_delivery_count"); kind[0] != "azurerm_servicebus_topic" && got != "local.max_deliveries" {
			t.Errorf("%s: max_delivery_count is %q", kind, got)
		}
	}
}

func TestAppsKnowEverySettingThatInfraSets(t *testing.T) {
	tf := readTerraform(t)
	apps := tf.object(t, tf.local(t, "settings"))
	settings := map[string]string{}
	for name := range tf.object(t, apps["api"]) {
		settings[name] = "x"
	}
	option := regexp.MustCompile(`(?:SERVICEBUS|STORAGE_ACCOUNT)_\w+`)
	tasks := map[string]any{}
	for alias, backend := range tf.object(t, tf.local(t, "tasks")) {
		members := tf.object(t, backend)
		options := map[string]any{}
		text := tf.text(members["OPTIONS"])
		if strings.Contains(text, "local.service_bus") {
			text += tf.text(tf.local(t, "service_bus"))
		}
		for _, name := range option.FindAllString(text, -1) {
			options[name] = "x"
		}
		tasks[alias] = map[string]any{"BACKEND": strings.Trim(tf.text(members["BACKEND"]), `"`), "OPTIONS": options}
	}
	if len(tasks) != 3 || len(settings) < 5 {
		t.Fatalf("found too few settings: %v, %v", tasks, settings)
	}
	inline, err := json.Marshal(tasks)
	if err != nil {
		t.Fatal(err)
	}
	settings["TASKGATE_TASKS"] = string(inline)
	// Every value is wrong, so the API does not start, but it must know every name.
	if out := refuses(t, settings); strings.Contains(out, "unknown") || strings.Contains(out, "leaves out") {
		t.Errorf("%s\n%v", out, settings)
	}
	for name := range tf.object(t, apps["worker"]) {
		if strings.HasPrefix(name, "TASKGATE_") && name != "TASKGATE_EVENTS_BASE" {
			t.Errorf("the worker does not read %s", name)
		}
	}
}

// TestAppsStartWithoutAStorageKey: with identity authentication azurerm adds a
// connection string that has no key, unless the settings have their own value.
// https://github.com/hashicorp/terraform-provider-azurerm/issues/29149
func TestAppsStartWithoutAStorageKey(t *testing.T) {
	tf := readTerraform(t)
	app := tf.block(t, "resource", "azurerm_function_app_flex_consumption", "this")
	if got := tf.argument(app, "storage_authentication_type"); got != `"SystemAssignedIdentity"` {
		t.Errorf("the storage authentication is %s; what does azurerm add for it?", got)
	}
	settings := tf.object(t, app.Attributes["app_settings"].Expr)
	for name, want := range map[string]string{
		"AzureWebJobsStorage":                  `""`,
		"DEPLOYMENT_STORAGE_CONNECTION_STRING": `""`,
		"AzureWebJobsStorage__accountName":     "azurerm_storage_account.host[each.key].name",
		"AzureWebJobsStorage__credential":      `"managedidentity"`,
	} {
		if settings[name] == nil || tf.text(settings[name]) != want {
			t.Errorf("the app setting %s is not %s", name, want)
		}
	}
}

// TestEachAppHasItsOwnStorageAccount: whoever may write to the account of an app's
// package decides what the app runs.
func TestEachAppHasItsOwnStorageAccount(t *testing.T) {
	tf := readTerraform(t)
	account := tf.block(t, "resource", "azurerm_storage_account", "host")
	if tf.argument(account, "for_each") != "local.apps" || !strings.Contains(tf.argument(account, "name"), "${each.key}") {
		t.Errorf("the apps share the storage account %s", tf.argument(account, "name"))
	}
	if got := tf.argument(tf.block(t, "resource", "azurerm_role_assignment", "host"), "scope"); got != "azurerm_storage_account.host[each.key].id" {
		t.Errorf("an app's identity may write to %s", got)
	}
	for _, b := range tf.blocks {
		if b.Type == "resource" && b.Labels[0] == "azurerm_storage_account" && tf.argument(b.Body, "shared_access_key_enabled") != "false" {
			t.Errorf("the storage account %s accepts keys", b.Labels[1])
		}
	}
}

func TestInstancesAreSmallAndTakeManyRequests(t *testing.T) {
	tf := readTerraform(t)
	app := tf.block(t, "resource", "azurerm_function_app_flex_consumption", "this")
	if got := tf.argument(app, "instance_memory_in_mb"); got != "512" {
		t.Errorf("an instance has %s MB", got)
	}
	if got := tf.argument(app, "http_concurrency"); got != "local.http_concurrency[each.key]" {
		t.Errorf("http_concurrency is %q", got)
	}
	if got := tf.text(tf.object(t, tf.local(t, "http_concurrency"))["api"]); got != "64" {
		t.Errorf("an instance of the API takes %s requests at once", got)
	}
}

// TestLogsFitTheSKUsAndTheBudget: Service Bus Standard has no runtime audit logs,
// and single requests are logged only when somebody asks for it.
func TestLogsFitTheSKUsAndTheBudget(t *testing.T) {
	tf := readTerraform(t)
	if sku := tf.argument(tf.block(t, "resource", "azurerm_servicebus_namespace", "this"), "sku"); sku != `"Standard"` {
		t.Fatalf("which logs does Service Bus %s have?", sku)
	}
	if got := tf.argument(tf.block(t, "variable", "request_logs"), "default"); got != "false" {
		t.Errorf("request_logs is %s by default", got)
	}
	setting := tf.block(t, "resource", "azurerm_monitor_diagnostic_setting", "this")
	text := tf.argument(setting, "for_each")
	var always []string
	for _, expression := range regexp.MustCompile(`logs\s*=.*|var\.request_logs \? [\[{]`).FindAllString(text, -1) {
		if strings.HasSuffix(expression, "{") {
			break // all that follows depends on request_logs
		}
		unconditional, _, _ := strings.Cut(expression, "var.request_logs ?")
		for _, category := range regexp.MustCompile(`"(\w+)"`).FindAllStringSubmatch(unconditional, -1) {
			always = append(always, category[1])
		}
	}
	if want := []string{"OperationalLogs", "ControlPlaneRequests"}; !slices.Equal(always, want) {
		t.Errorf("the logs that are always on are %q, want %q", always, want)
	}
	if strings.Contains(text, "RuntimeAuditLogs") || strings.Contains(text, "PartitionKey") {
		t.Errorf("some of these logs do not exist here: %s", text)
	}
}

// TestOperatorsMayReadTasks: the accounts accept no keys, so Data Explorer needs a
// role on the data plane.
func TestOperatorsMayReadTasks(t *testing.T) {
	tf := readTerraform(t)
	data := tf.block(t, "resource", "azurerm_cosmosdb_sql_role_assignment", "operators")
	if tf.argument(data, "for_each") != "var.operators" || tf.argument(data, "principal_id") != "each.value" ||
		!strings.HasSuffix(tf.argument(data, "role_definition_id"), `/sqlRoleDefinitions/00000000-0000-0000-0000-000000000001"`) {
		t.Errorf("the operators have another role in Cosmos DB: %s", tf.argument(data, "role_definition_id"))
	}
	if got := tf.argument(tf.block(t, "resource", "azurerm_role_assignment", "operators"), "for_each"); !strings.Contains(got, "Storage Queue Data Reader") || strings.Contains(got, "Contributor") || strings.Contains(got, "Owner") {
		t.Errorf("the operators' roles are %s", got)
	}
}

// allTrue is Terraform's function of that name.
var allTrue = function.New(&function.Spec{
	VarParam: &function.Parameter{Name: "list", Type: cty.DynamicPseudoType},
	Type:     function.StaticReturnType(cty.Bool),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		for it := args[0].ElementIterator(); it.Next(); {
			if _, v := it.Element(); v.False() {
				return cty.False, nil
			}
		}
		return cty.True, nil
	},
})

// TestEveryVariableRefusesNonsense evaluates the conditions of infra/azure.
func TestEveryVariableRefusesNonsense(t *testing.T) {
	const hash, uuid = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "0b5c5a0e-1c9f-4a53-9d52-6f0e7b9a1c11"
	secret := strings.Repeat("0123456789abcdef", 2)
	samples := map[string]struct{ good, bad []string }{
		"subscription_id": {[]string{uuid}, []string{"", "my subscription", "/subscriptions/" + uuid, "<subscription>"}},
		"name":            {[]string{"taskgate", "taskgate-shop", "abc", "a1-b2"}, []string{"", "ab", "taskgate-", "a--b", "1ab", "Taskgate", "taskgate-of-the-shop", "task_gate"}},
		"location":        {[]string{"westeurope", "eastus2"}, []string{"", "West Europe", "west-europe"}},
		"api_keys":        {[]string{"shop:enqueue+read:" + hash, "a@b.c:admin:" + hash + ",ops:work:" + strings.ToUpper(hash)}, []string{"", "shop:enqueue+read:<sha256>", "shop:write:" + hash, "shop:read:" + hash[1:], "shop:read:" + hash + ","}},
		"token_secrets":   {[]string{secret, secret + "," + secret, "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s)"}, []string{"", "short", secret + ",short", "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s", "<32 random bytes or more, in hexadecimal>", "${TOKEN_SECRETS_TOKEN_SECRETS_TOKEN}"}},
		"operators":       {[]string{uuid}, []string{"", "ann@example.com", "<object id>"}},
		"alert_email":     {[]string{"", "ops@example.com"}, []string{"ops", "ops@example.com, dev@example.com", "<you>@example.com"}},
	}
	tf := readTerraform(t)
	for _, b := range tf.blocks {
		if b.Type != "variable" {
			continue
		}
		name, kind := b.Labels[0], tf.argument(b.Body, "type")
		if tf.argument(b.Body, "nullable") != "false" {
			t.Errorf("%s may be null", name)
		}
		if kind == "bool" {
			continue
		}
		sample, ok := samples[name]
		validations := inner(b.Body, "validation")
		if !ok || len(validations) == 0 {
			t.Errorf("%s is not validated", name)
			continue
		}
		accepts := func(value string) bool {
			v := cty.StringVal(value)
			if kind == "set(string)" {
				v = cty.SetVal([]cty.Value{v})
			}
			context := &hcl.EvalContext{
				Variables: map[string]cty.Value{"var": cty.ObjectVal(map[string]cty.Value{name: v})},
				Functions: map[string]function.Function{"can": tryfunc.CanFunc, "regex": stdlib.RegexFunc, "alltrue": allTrue, "length": stdlib.StrlenFunc},
			}
			for _, validation := range validations {
				result, diagnostics := validation.Attributes["condition"].Expr.Value(context)
				if diagnostics.HasErrors() {
					t.Fatal(diagnostics)
				}
				if result.False() {
					return false
				}
			}
			return true
		}
		for _, value := range sample.good {
			if !accepts(value) {
				t.Errorf("%s refuses %q", name, value)
			}
		}
		for _, value := range sample.bad {
			if accepts(value) {
				t.Errorf("%s accepts %q", name, value)
			}
		}
	}
}
