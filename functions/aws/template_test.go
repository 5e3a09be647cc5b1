package main_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pb33f/go-yaml"

	"github.com/taskgate/taskgate/adapters/aws/dynamostore"
	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/functions/settings"
)

type object = map[string]any

// template returns the resources of template.yaml.
func template(t *testing.T) (resources object) {
	t.Helper()
	return section(t, "Resources")
}

// section reads one section of template.yaml. Intrinsic functions become
// objects: !Ref x is {"Ref": "x"}, and !Sub x is {"Fn::Sub": "x"}.
func section(t *testing.T, name string) object {
	t.Helper()
	text, err := os.ReadFile("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	return at(t, plain(root.Content[0]), name).(object)
}

func plain(n *yaml.Node) any {
	var v any
	switch n.Kind {
	case yaml.MappingNode:
		m := object{}
		for i := 0; i < len(n.Content); i += 2 {
			m[n.Content[i].Value] = plain(n.Content[i+1])
		}
		v = m
	case yaml.SequenceNode:
		s := []any{}
		for _, item := range n.Content {
			s = append(s, plain(item))
		}
		v = s
	default:
		v = n.Value
	}
	switch name, ours := strings.CutPrefix(n.Tag, "!"); {
	case !ours || strings.HasPrefix(name, "!"):
		return v
	case name == "Ref":
		return object{name: v}
	default:
		return object{"Fn::" + name: v}
	}
}

// at looks a value up by the keys that lead to it.
func at(t *testing.T, v any, keys ...string) any {
	t.Helper()
	for _, key := range keys {
		m, ok := v.(object)
		if !ok || m[key] == nil {
			t.Fatalf("template.yaml has no %s in %v", key, keys)
		}
		v = m[key]
	}
	return v
}

// statements returns the policy statements of a role or a policy, including the
// conditional ones.
func statements(t *testing.T, v any) (all []object) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			all = append(all, statements(t, item)...)
		}
	case object:
		if v["Effect"] != nil && v["Principal"] == nil {
			return []object{v}
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			all = append(all, statements(t, v[key])...)
		}
	}
	return all
}

// strs returns a string or a list of them as a list.
func strs(v any) (all []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, item := range v {
			all = append(all, strs(item)...)
		}
	}
	return all
}

func actions(statements []object) (all []string) {
	for _, s := range statements {
		all = append(all, strs(s["Action"])...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// source calls see for every node of the Go files below the folders, except tests.
func source(t *testing.T, see func(ast.Node), folders ...string) {
	t.Helper()
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err == nil {
				ast.Inspect(file, func(n ast.Node) bool { see(n); return true })
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// variables returns the names of the environment variables that code reads.
func variables(t *testing.T, folders ...string) []string {
	t.Helper()
	name, found := regexp.MustCompile(`^TASKGATE_[A-Z_]*[A-Z]$`), map[string]bool{}
	source(t, func(n ast.Node) {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil && name.MatchString(s) {
				found[s] = true
			}
		}
	}, folders...)
	return slices.Sorted(maps.Keys(found))
}

func TestTemplateSetsExactlyTheVariablesThatTheFunctionsRead(t *testing.T) {
	resources := template(t)
	for function, folders := range map[string][]string{
		"Function":      {"../settings", "."},
		"ExampleWorker": {"../aws-worker"},
	} {
		want := slices.DeleteFunc(variables(t, folders...), func(name string) bool {
			return name == "TASKGATE_TASKS_FILE" // an alternative to TASKGATE_TASKS
		})
		set := at(t, resources, function, "Properties", "Environment", "Variables").(object)
		if got := slices.Sorted(maps.Keys(set)); !slices.Equal(got, want) {
			t.Errorf("the template gives %s  %q\nand the function reads %q", function, got, want)
		}
	}
}

func TestExampleBackendsAreValidSettings(t *testing.T) {
	example := at(t, template(t), "Function", "Properties", "Environment", "Variables", "TASKGATE_TASKS", "Fn::If").([]any)[2].(object)["Fn::If"].([]any)[1]
	text := example.(object)["Fn::Sub"].(string)
	for reference, value := range map[string]string{
		"ExampleSchedulerRole.Arn": "arn:aws:iam::123456789012:role/r", "AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": "123456789012",
		"ExampleQueue.QueueName": "queue", "ExampleTopic.TopicName": "topic", "ExampleWorker": "worker", "ExampleSchedules": "group",
		"ExampleDeadLetterQueue.Arn": "arn:aws:sqs:eu-west-1:123456789012:dead",
	} {
		text = strings.ReplaceAll(text, "${"+reference+"}", value)
	}
	tasks, err := settings.ParseTasks([]byte(text), settings.Main{Region: "eu-west-1", Serves: map[settings.Kind]settings.CheckQueue{
		settings.SQSBackend: nil, settings.SNSTopicBackend: nil, settings.EventBridgeSchedulerBackend: nil, settings.LambdaAsyncInvocationBackend: nil,
	}})
	if err != nil || len(tasks.Backends) != 4 || strings.Contains(text, "${") {
		t.Errorf("%s: %v", text, err)
	}
	if got := strings.Count(text, `"EVENTBRIDGE_SCHEDULER_DLQ_ARN": "arn:`); got != 4 {
		t.Errorf("%d of the 4 backends name a dead-letter queue for schedules that cannot be delivered", got)
	}
}

// CloudFormation and the DynamoDB API use the same names, so the two definitions
// can be compared member by member.
func TestTemplateTableMatchesTheStoreDefinition(t *testing.T) {
	table := maps.Clone(at(t, template(t), "Table", "Properties").(object))
	ttl := object{"AttributeName": dynamostore.TTLAttribute, "Enabled": "true"}
	if !reflect.DeepEqual(table["TimeToLiveSpecification"], ttl) {
		t.Errorf("time to live: %v", table["TimeToLiveSpecification"])
	}
	if !reflect.DeepEqual(table["PointInTimeRecoverySpecification"], object{"PointInTimeRecoveryEnabled": "true"}) {
		t.Error("no point-in-time recovery")
	}
	key := object{"SSEEnabled": "true", "SSEType": "KMS", "KMSMasterKeyId": object{"Ref": "KmsKeyArn"}}
	if !reflect.DeepEqual(table["SSESpecification"], object{"Fn::If": []any{"HasKmsKey", key, object{"Ref": "AWS::NoValue"}}}) {
		t.Errorf("encryption: %v", table["SSESpecification"])
	}
	for _, own := range []string{"TimeToLiveSpecification", "PointInTimeRecoverySpecification", "SSESpecification"} {
		delete(table, own) // not part of the store's definition
	}
	definition := dynamostore.Definition("")
	definition.TableName = nil // CloudFormation chooses it
	b, err := json.Marshal(definition)
	if err != nil {
		t.Fatal(err)
	}
	var want any
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	if want = stripped(want); !reflect.DeepEqual(any(table), want) {
		t.Errorf("the template has\n%v\nand the store wants\n%v", table, want)
	}
}

// stripped removes members that are null or empty.
func stripped(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = stripped(v[i])
		}
	case object:
		maps.DeleteFunc(v, func(_ string, member any) bool { return member == nil || member == "" })
		for name := range v {
			v[name] = stripped(v[name])
		}
	}
	return v
}

// permission lists the permissions of SDK operations that need others than the
// one with their own name.
// https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
var permission = map[string][]string{
	"sqs.SendMessageBatch":     {"sqs:SendMessage"},
	"sns.PublishBatch":         {"sns:Publish"},
	"lambda.Invoke":            {"lambda:InvokeFunction"},
	"scheduler.CreateSchedule": {"scheduler:CreateSchedule", "iam:PassRole"},
	"dynamodb.CreateTable":     nil, // only the table's definition uses it
}

// called returns the permissions for all operations whose inputs the adapters build.
func called(t *testing.T) []string {
	t.Helper()
	found := map[string]bool{}
	source(t, func(n ast.Node) {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return
		}
		service, ok := s.X.(*ast.Ident)
		operation, isInput := strings.CutSuffix(s.Sel.Name, "Input")
		if !ok || !isInput || !slices.Contains([]string{"dynamodb", "sqs", "sns", "scheduler", "lambda"}, service.Name) {
			return
		}
		needs, known := permission[service.Name+"."+operation]
		if !known {
			needs = []string{service.Name + ":" + operation}
		}
		for _, action := range needs {
			found[action] = true
		}
	}, "../../adapters/aws", ".")
	return slices.Sorted(maps.Keys(found))
}

func TestTemplatePermitsExactlyWhatTheCodeCalls(t *testing.T) {
	resources, want := template(t), called(t)
	ours := func(action string) bool {
		return strings.HasPrefix(action, "logs:") || strings.HasPrefix(action, "kms:")
	}
	if got := slices.DeleteFunc(actions(statements(t, resources["FunctionRole"])), ours); !slices.Equal(got, want) {
		t.Errorf("the function may  %q\nand its code calls %q", got, want)
	}
	inTable := func(action string) bool { return strings.HasPrefix(action, "dynamodb:") }
	want = slices.DeleteFunc(want, inTable)
	if got := actions(statements(t, resources["ExampleAccess"])); !slices.Equal(got, want) {
		t.Errorf("in the example the function may %q\nand its code calls %q", got, want)
	}
	// https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html, and a failure destination
	worker := []string{"logs:CreateLogStream", "logs:PutLogEvents", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:SendMessage"}
	if got := actions(statements(t, resources["ExampleWorkerRole"])); !slices.Equal(got, worker) {
		t.Errorf("the worker may %q", got)
	}
}

// substituted returns the strings and the texts of Fn::Sub in a value.
func substituted(v any) (all []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, item := range v {
			all = append(all, substituted(item)...)
		}
	case object:
		all = append(substituted(v["Fn::Sub"]), substituted(v["Fn::If"])...)
	}
	return all
}

func TestPermissionsHaveNoWildcardsAndRolesArePassedToTheSchedulerOnly(t *testing.T) {
	resources := template(t)
	for name := range resources {
		for _, s := range statements(t, resources[name]) {
			for _, action := range strs(s["Action"]) {
				if strings.Contains(action, "*") || !strings.Contains(action, ":") {
					t.Errorf("%s allows %s", name, action)
				}
				passed := object{"StringEquals": object{"iam:PassedToService": "scheduler.amazonaws.com"}}
				if action == "iam:PassRole" && (!reflect.DeepEqual(s["Condition"], passed) || len(strs(s["Action"])) != 1) {
					t.Errorf("%s passes roles to other services than the Scheduler", name)
				}
			}
			for _, r := range substituted(s["Resource"]) {
				// A schedule is named after its task's id, so only its group is known here.
				if strings.Contains(strings.TrimSuffix(r, "}/*"), "*") || strings.HasSuffix(r, "*") && !strings.Contains(r, ":schedule/${") {
					t.Errorf("%s allows %s", name, r)
				}
			}
		}
	}
	for _, group := range []string{"FunctionRole", "ExampleAccess", "ExampleSchedulerRole", "ExampleWorkerRole"} {
		if len(statements(t, resources[group])) < 3 {
			t.Errorf("found too few statements in %s: does the template have another shape?", group)
		}
	}
}

// parameters returns the parameters of template.yaml by name.
func parameters(t *testing.T) map[string]object {
	t.Helper()
	all := map[string]object{}
	for name, p := range section(t, "Parameters") {
		all[name] = p.(object)
	}
	return all
}

// accepts reports whether CloudFormation would accept a value of a parameter.
// A list is checked item by item:
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
func accepts(t *testing.T, p object, value string) bool {
	t.Helper()
	items := []string{value}
	if p["Type"] == "CommaDelimitedList" {
		items = strings.Split(value, ",")
	}
	for _, item := range items {
		if allowed := strs(p["AllowedValues"]); allowed != nil && !slices.Contains(allowed, item) {
			return false
		}
		if p["Type"] == "Number" {
			n, err := strconv.Atoi(item)
			if err != nil || p["MinValue"] != nil && n < number(t, p["MinValue"]) || p["MaxValue"] != nil && n > number(t, p["MaxValue"]) {
				return false
			}
		}
		if pattern, ok := p["AllowedPattern"].(string); ok && !regexp.MustCompile("^(?:"+pattern+")$").MatchString(item) {
			return false
		}
		if p["MinLength"] != nil && len(item) < number(t, p["MinLength"]) {
			return false
		}
	}
	return true
}

func number(t *testing.T, v any) int {
	t.Helper()
	n, err := strconv.Atoi(v.(string))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// samples are values that each parameter must accept and must refuse.
var samples = map[string]struct{ good, bad []string }{
	"Tasks": {
		[]string{"", `{"default": {"BACKEND": "taskgate.SQSBackend"}}`, "{\n \"a\": {}\n}\n"},
		[]string{"tasks.json", "[]", "\ufeff{}", "'{}'", "<json>"},
	},
	"ApiKeys": {
		[]string{"", "shop:enqueue+read:" + hash, "a@b.c:admin:" + hash + ",ops:work:" + strings.ToUpper(hash[32:]+hash[:32])},
		[]string{"shop:enqueue+read:<sha256>", "shop:enqueue:" + hash[1:], "shop::" + hash, "shop:write:" + hash, "shop:enqueue:" + hash + ",", "'shop:enqueue:" + hash + "'", hash},
	},
	"TokenSecrets": {
		[]string{"", hash, hash + "," + hash, "{{resolve:secretsmanager:taskgate}}", "{{resolve:secretsmanager:arn:aws:secretsmanager:eu-west-1:123456789012:secret:s-1:SecretString:key::}}," + hash},
		[]string{"short", hash + ",short", "{{resolve:secretsmanager:taskgate}", "{{resolve:ssm-secure:name}}", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:name-abcdef", "${TOKEN_SECRETS_TOKEN_SECRETS_TOKEN}", "<32 random bytes or more, in hex>"},
	},
	"Release":           {[]string{"", "20261128T001500Z", hash}, []string{"a b", "v1.0", "$(date)"}},
	"ResultTtl":         {[]string{"168h", "1h30m", "90m", "30s", "8760h"}, []string{"", "7d", "0s", "168", "-1h", "1w", "h", "168h "}},
	"MaxWait":           {[]string{"0s", "5s", "10s", "20s"}, []string{"", "60s", "21s", "20", "1m", "20s20s"}},
	"JwtIssuer":         {[]string{"", "https://issuer.example.com/"}, []string{"issuer.example.com", "http://issuer.example.com", "https://<tenant>.example.com"}},
	"JwtAudience":       {[]string{"", "api", "api,https://tasks.example.com"}, []string{"a b", "api,", "<audience>"}},
	"Admins":            {[]string{"", "https://i.example.com#ops", "https://i.example.com#a,https://i.example.com#b"}, []string{"a b", "a,", "<caller>"}},
	"DomainName":        {[]string{"", "tasks.example.com"}, []string{"https://tasks.example.com", "tasks.example.com/", "localhost", "Tasks.example.com", "*.example.com"}},
	"CertificateArn":    {[]string{"", "arn:aws:acm:eu-west-1:123456789012:certificate/0b0c-1d"}, []string{"0b0c-1d", "arn:aws:iam::123456789012:server-certificate/x"}},
	"ExistingTable":     {[]string{"", "tasks", "my.tasks_1-a"}, []string{"t", "arn:aws:dynamodb:eu-west-1:123456789012:table/tasks", "my tasks"}},
	"KmsKeyArn":         {[]string{"", "arn:aws:kms:eu-west-1:123456789012:key/0b0c-1d"}, []string{"alias/tasks", "arn:aws:kms:eu-west-1:123456789012:alias/tasks", "0b0c-1d"}},
	"QueueArns":         {[]string{"", "arn:aws:sqs:eu-west-1:123456789012:emails,arn:aws-cn:sqs:cn-north-1:123456789012:emails.fifo"}, []string{"emails", "arn:aws:sns:eu-west-1:123456789012:emails", "arn:aws:sqs:eu-west-1:123456789012:*", "arn:aws:sqs:eu-west-1:<account>:emails", "https://sqs.eu-west-1.amazonaws.com/123456789012/emails"}},
	"TopicArns":         {[]string{"", "arn:aws:sns:eu-west-1:123456789012:news", "arn:aws:sns:eu-west-1:123456789012:news.fifo"}, []string{"news", "arn:aws:sqs:eu-west-1:123456789012:news", "arn:aws:sns:eu-west-1:123456789012:*"}},
	"FunctionArns":      {[]string{"", "arn:aws:lambda:eu-west-1:123456789012:function:work", "arn:aws:lambda:eu-west-1:123456789012:function:work:live"}, []string{"work", "arn:aws:lambda:eu-west-1:123456789012:function:*", "arn:aws:lambda:eu-west-1:123456789012:layer:work"}},
	"SchedulerRoleArns": {[]string{"", "arn:aws:iam::123456789012:role/schedules", "arn:aws:iam::123456789012:role/path/schedules"}, []string{"schedules", "arn:aws:iam::123456789012:user/me", "arn:aws:iam::123456789012:role/*"}},
	"SchedulerGroup":    {[]string{"default", "my.group_1-a"}, []string{"", "a/b", "*", "a b"}},
	"AlarmTopicArn":     {[]string{"", "arn:aws:sns:eu-west-1:123456789012:alarms"}, []string{"alarms", "me@example.com", "arn:aws:sns:eu-west-1:123456789012:alarms.fifo"}},
	"ThrottleRate":      {[]string{"1", "500"}, []string{"0", "-1", "many"}},
	"ThrottleBurst":     {[]string{"1", "1000"}, []string{"0", "-1", "many"}},

	"ReservedConcurrency":   {[]string{"0", "100"}, []string{"-1", "all"}},
	"WorkerConcurrency":     {[]string{"2", "1000"}, []string{"1", "1001", "all"}}, // the bounds of Lambda's MaximumConcurrency
	"GradualDeployment":     {[]string{"true", "false"}, []string{"", "yes"}},
	"GradualDeploymentType": {[]string{"Canary10Percent5Minutes", "Linear10PercentEvery1Minute"}, []string{"", "AllAtOnce", "Canary"}},
	"DeployExample":         {[]string{"true", "false"}, []string{"", "True", "yes"}},
	"LogRetentionDays":      {[]string{"1", "365"}, []string{"0", "31", "forever"}},
}

// hash is the SHA-256 of an API key.
const hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func TestEveryParameterRefusesNonsense(t *testing.T) {
	all := parameters(t)
	for name, p := range all {
		sample, ok := samples[name]
		if !ok || len(sample.good) == 0 || len(sample.bad) == 0 {
			t.Errorf("no sample values for %s", name)
		}
		if value, ok := p["Default"].(string); ok && !accepts(t, p, value) {
			t.Errorf("%s refuses its own default %q", name, value)
		}
		for _, value := range sample.good {
			if !accepts(t, p, value) {
				t.Errorf("%s refuses %q", name, value)
			}
		}
		for _, value := range sample.bad {
			if accepts(t, p, value) {
				t.Errorf("%s accepts %q", name, value)
			}
		}
		if p["Description"] == nil || p["AllowedPattern"] != nil && p["ConstraintDescription"] == nil {
			t.Errorf("%s does not say what it is, or what it must be", name)
		}
	}
	for name := range samples {
		if all[name] == nil {
			t.Errorf("there is no parameter %s", name)
		}
	}
}

// TestFunctionStartsWithWhatTheParametersAccept gives the accepted values to the
// function's own parser.
func TestFunctionStartsWithWhatTheParametersAccept(t *testing.T) {
	good := func(parameter string) []string {
		return slices.DeleteFunc(slices.Clone(samples[parameter].good), func(value string) bool {
			return value == "" || strings.Contains(value, "resolve:") // CloudFormation replaces those
		})
	}
	scope := regexp.MustCompile(`:work:`) // until the service knows the scope work
	for parameter, variable := range map[string]string{"ResultTtl": "TASKGATE_RESULT_TTL", "MaxWait": "TASKGATE_MAX_WAIT", "ApiKeys": "TASKGATE_API_KEYS", "TokenSecrets": "TASKGATE_TOKEN_SECRETS"} {
		for _, value := range good(parameter) {
			if !slices.Contains(httpapi.Scopes(), "work") && scope.MatchString(value) {
				continue
			}
			environment := map[string]string{"TASKGATE_TASKS": `{"default": {"BACKEND": "taskgate.SQSBackend"}}`, "TASKGATE_API_KEYS": "shop:read:" + hash, "TASKGATE_TOKEN_SECRETS": hash}
			environment[variable] = value
			var environ []string
			for name, v := range environment {
				environ = append(environ, name+"="+v)
			}
			env := settings.NewEnv(environ)
			env.Service(settings.Main{Name: "functions/aws", Serves: map[settings.Kind]settings.CheckQueue{settings.SQSBackend: nil}, Auth: []settings.Auth{settings.AuthKeys}})
			if err := env.Err(); err != nil {
				t.Errorf("%s accepts %q, and the function does not start: %v", parameter, value, err)
			}
		}
	}
	keys := parameters(t)["ApiKeys"]
	for _, scope := range httpapi.Scopes() {
		if !accepts(t, keys, "shop:"+scope+":"+hash) {
			t.Errorf("ApiKeys refuses the scope %s", scope)
		}
	}
}

// holds evaluates a rule's assertion:
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference-rules.html
func holds(t *testing.T, v any, values map[string]string) bool {
	t.Helper()
	text := func(v any) string {
		if m, ok := v.(object); ok {
			return values[m["Ref"].(string)]
		}
		return v.(string)
	}
	for function, argument := range v.(object) {
		args := argument.([]any)
		switch function {
		case "Fn::Equals":
			return text(args[0]) == text(args[1])
		case "Fn::Not":
			return !holds(t, args[0], values)
		case "Fn::And":
			return !slices.ContainsFunc(args, func(a any) bool { return !holds(t, a, values) })
		case "Fn::Or":
			return slices.ContainsFunc(args, func(a any) bool { return holds(t, a, values) })
		default:
			t.Fatalf("this test does not know %s", function)
		}
	}
	return false
}

func TestRulesRefuseParametersThatCannotWorkTogether(t *testing.T) {
	tasks, keys := `{"default": {"BACKEND": "taskgate.SQSBackend"}}`, "shop:read:"+hash
	tests := []struct {
		given  map[string]string
		refuse string // the rule; "" = accepted
	}{
		{map[string]string{}, "HasBackends"},
		{map[string]string{"ApiKeys": keys}, "HasBackends"},
		{map[string]string{"Tasks": tasks}, "HasCallers"},
		{map[string]string{"Tasks": tasks, "JwtAudience": "api"}, "HasCallers"},
		{map[string]string{"Tasks": tasks, "JwtIssuer": "https://i.example.com"}, "JwtIssuerAndAudienceTogether"},
		{map[string]string{"Tasks": tasks, "ApiKeys": keys, "JwtAudience": "api"}, "JwtIssuerAndAudienceTogether"},
		{map[string]string{"Tasks": tasks, "ApiKeys": keys, "JwtIssuer": "https://i.example.com", "JwtAudience": "api"}, "HasCallers"},
		{map[string]string{"Tasks": tasks, "ApiKeys": keys, "Admins": "https://i.example.com#ops"}, "AdminsNeedJwtIssuer"},
		{map[string]string{"Tasks": tasks, "JwtIssuer": "https://i.example.com", "JwtAudience": "api", "Admins": "https://i.example.com#ops"}, ""},
		{map[string]string{"Tasks": tasks, "ApiKeys": keys, "DomainName": "tasks.example.com"}, "DomainAndCertificateTogether"},
		{map[string]string{"Tasks": tasks, "ApiKeys": keys, "CertificateArn": "arn"}, "DomainAndCertificateTogether"},
		{map[string]string{"Tasks": tasks, "ApiKeys": keys, "GradualDeployment": "true"}, "GradualDeploymentNeedsRelease"},
		{map[string]string{"Tasks": tasks, "ApiKeys": keys, "GradualDeployment": "true", "Release": "1"}, ""},
		{map[string]string{"Tasks": tasks, "ApiKeys": keys}, ""},
		{map[string]string{"DeployExample": "true", "ApiKeys": keys}, ""},
		{map[string]string{"Tasks": tasks, "JwtIssuer": "https://i.example.com", "JwtAudience": "api"}, ""},
		{map[string]string{"Tasks": tasks, "ApiKeys": keys, "DomainName": "tasks.example.com", "CertificateArn": "arn"}, ""},
	}
	rules := section(t, "Rules")
	for _, tt := range tests {
		values := map[string]string{}
		for name, p := range parameters(t) {
			values[name], _ = p["Default"].(string)
		}
		maps.Copy(values, tt.given)
		var refused []string
		for name, rule := range rules {
			for _, assertion := range at(t, rule, "Assertions").([]any) {
				if at(t, assertion, "AssertDescription") == "" || !holds(t, at(t, assertion, "Assert"), values) {
					refused = append(refused, name)
				}
			}
		}
		if tt.refuse == "" && len(refused) > 0 || tt.refuse != "" && !slices.Contains(refused, tt.refuse) {
			t.Errorf("%v: refused by %q, want %q", tt.given, refused, tt.refuse)
		}
	}
}

// TestTrafficIsThrottledAndConcurrencyIsLimited: the gateway turns a flood away,
// and a backlog of tasks leaves concurrency for the API.
func TestTrafficIsThrottledAndConcurrencyIsLimited(t *testing.T) {
	resources := template(t)
	throttling := at(t, resources, "Stage", "Properties", "DefaultRouteSettings")
	if want := any(object{"ThrottlingRateLimit": object{"Ref": "ThrottleRate"}, "ThrottlingBurstLimit": object{"Ref": "ThrottleBurst"}}); !reflect.DeepEqual(throttling, want) {
		t.Errorf("throttling: %v", throttling)
	}
	for name, event := range at(t, resources, "ExampleWorker", "Properties", "Events").(object) {
		limit := at(t, event, "Properties", "ScalingConfig", "MaximumConcurrency")
		if ref, ok := limit.(object); limit != "2" && (!ok || ref["Ref"] != "WorkerConcurrency") {
			t.Errorf("the trigger %s has the limit %v", name, limit)
		}
	}
	if limit := at(t, resources, "Function", "Properties", "ReservedConcurrentExecutions", "Fn::If").([]any); !reflect.DeepEqual(limit[1], any(object{"Ref": "ReservedConcurrency"})) {
		t.Errorf("reserved concurrency: %v", limit)
	}
}

func TestQueuesKeepMessagesFor14Days(t *testing.T) {
	queues := 0
	for name, resource := range template(t) {
		if r := resource.(object); r["Type"] == "AWS::SQS::Queue" {
			queues++
			if days := at(t, r, "Properties", "MessageRetentionPeriod"); days != strconv.Itoa(14*24*60*60) {
				t.Errorf("%s keeps messages for %v s", name, days)
			}
		}
	}
	if queues != 2 {
		t.Errorf("the template has %d queues", queues)
	}
}

// TestSchedulesThatCannotBeDeliveredAreKept: the role of the example's schedules
// may send to the dead-letter queue that they name.
func TestSchedulesThatCannotBeDeliveredAreKept(t *testing.T) {
	for _, s := range statements(t, at(t, template(t), "ExampleSchedulerRole")) {
		if slices.Contains(strs(s["Action"]), "sqs:SendMessage") && reflect.DeepEqual(s["Resource"], any(object{"Fn::GetAtt": "ExampleDeadLetterQueue.Arn"})) {
			return
		}
	}
	t.Error("the role may not send to the dead-letter queue")
}

// TestRotatedSecretTakesEffectWithANewRelease: the release is a part of the
// function, so a deployment of the same code changes the function.
func TestRotatedSecretTakesEffectWithANewRelease(t *testing.T) {
	function := at(t, template(t), "Function", "Properties")
	if got := at(t, function, "AutoPublishCodeSha256"); !reflect.DeepEqual(got, any(object{"Ref": "Release"})) {
		t.Errorf("the function depends on %v, not on Release", got)
	}
	if d := at(t, section(t, "Parameters"), "Release", "Description").(string); !strings.Contains(d, "rotated secret") {
		t.Errorf("the description of Release does not explain rotation: %s", d)
	}
}

// TestGradualDeploymentRollsBackOnAlarms: it is off by default. When it is on,
// the API calls the alias that CodeDeploy shifts.
func TestGradualDeploymentRollsBackOnAlarms(t *testing.T) {
	resources := template(t)
	preference := at(t, resources, "Function", "Properties", "DeploymentPreference")
	want := object{
		"Enabled": object{"Ref": "GradualDeployment"}, "Type": object{"Ref": "GradualDeploymentType"},
		"Alarms": []any{object{"Ref": "ErrorsAlarm"}, object{"Ref": "UnavailableAlarm"}},
	}
	if !reflect.DeepEqual(preference, any(want)) || parameters(t)["GradualDeployment"]["Default"] != "false" {
		t.Errorf("the deployment preference is %v", preference)
	}
	alias, function := object{"Ref": "Function.Alias"}, object{"Fn::GetAtt": "Function.Arn"}
	if uri := at(t, resources, "Integration", "Properties", "IntegrationUri", "Fn::If"); !reflect.DeepEqual(uri, any([]any{"IsGradual", alias, function})) {
		t.Errorf("the API calls %v", uri)
	}
	if got := at(t, resources, "AliasInvocation", "Properties", "FunctionName"); !reflect.DeepEqual(got, any(alias)) {
		t.Errorf("the API may not call the alias, but %v", got)
	}
}

// TestNobodyInvokesTheFunctionDirectly: an event names its caller, so a direct
// invocation could name any caller.
func TestNobodyInvokesTheFunctionDirectly(t *testing.T) {
	for name, resource := range template(t) {
		if r := resource.(object); r["Type"] == "AWS::Lambda::Permission" {
			properties := r["Properties"].(object)
			if properties["Principal"] != "apigateway.amazonaws.com" || properties["SourceArn"] == nil {
				t.Errorf("%s lets %v invoke the function", name, properties["Principal"])
			}
		}
	}
	text, err := os.ReadFile("../../infra/aws/function-url-caller.json")
	if err != nil {
		t.Fatal(err)
	}
	var policy struct{ Statement []object }
	if err := json.Unmarshal(text, &policy); err != nil {
		t.Fatal(err)
	}
	conditions := map[string]any{
		"lambda:InvokeFunctionUrl": object{"StringEquals": object{"lambda:FunctionUrlAuthType": "AWS_IAM"}},
		"lambda:InvokeFunction":    object{"Bool": object{"lambda:InvokedViaFunctionUrl": "true"}},
	}
	if len(policy.Statement) != len(conditions) {
		t.Errorf("the policy has %d statements", len(policy.Statement))
	}
	for _, s := range policy.Statement {
		action, _ := s["Action"].(string)
		if !reflect.DeepEqual(s["Condition"], conditions[action]) {
			t.Errorf("%s is allowed under the condition %v", action, s["Condition"])
		}
	}
}
