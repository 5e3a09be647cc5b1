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
	"github.com/taskgate/taskgate/functions/settings"
)

type object = map[string]any

// template reads template.yaml, with intrinsic functions as objects: !Ref x is
// {"Ref": "x"}, and !Sub x {"Fn::Sub": "x"}.
func template(t *testing.T) (resources object) {
	t.Helper()
	text, err := os.ReadFile("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	return plain(root.Content[0]).(object)["Resources"].(object)
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

// at follows keys into objects.
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

// statements returns the policy statements of a role or a policy, those under
// conditions too.
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

// source calls see for every node of the Go files below the folders, tests aside.
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

// variables returns the names that code reads from its environment.
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

func TestTheTemplateSetsWhatTheFunctionsReadAndNothingElse(t *testing.T) {
	resources := template(t)
	for function, folders := range map[string][]string{
		"Function":      {"../settings", "."},
		"ExampleWorker": {"../aws-worker"},
	} {
		want := slices.DeleteFunc(variables(t, folders...), func(name string) bool {
			return name == "TASKGATE_TASKS_FILE" // the other way to say what TASKGATE_TASKS says
		})
		set := at(t, resources, function, "Properties", "Environment", "Variables").(object)
		if got := slices.Sorted(maps.Keys(set)); !slices.Equal(got, want) {
			t.Errorf("%s is given %q\nand reads %q", function, got, want)
		}
	}
}

func TestTheExamplesBackendsAreGoodSettings(t *testing.T) {
	tasks := at(t, template(t), "Function", "Properties", "Environment", "Variables", "TASKGATE_TASKS", "Fn::If").([]any)[2].(object)["Fn::If"].([]any)[1]
	text := tasks.(object)["Fn::Sub"].(string)
	for reference, value := range map[string]string{
		"ExampleSchedulerRole.Arn": "arn:aws:iam::123456789012:role/r", "AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": "123456789012",
		"ExampleQueue.QueueName": "queue", "ExampleTopic.TopicName": "topic", "ExampleWorker": "worker", "ExampleSchedules": "group",
	} {
		text = strings.ReplaceAll(text, "${"+reference+"}", value)
	}
	backends, err := settings.ParseTasks([]byte(text))
	if err != nil || len(backends) != 4 || strings.Contains(text, "${") {
		t.Errorf("%s: %v", text, err)
	}
}

// TestTheTemplatesTableIsTheStores compares them in the words of CloudFormation,
// which are the API's.
func TestTheTemplatesTableIsTheStores(t *testing.T) {
	table := maps.Clone(at(t, template(t), "Table", "Properties").(object))
	ttl := object{"AttributeName": dynamostore.TTLAttribute, "Enabled": "true"}
	if !reflect.DeepEqual(table["TimeToLiveSpecification"], ttl) {
		t.Errorf("time to live: %v", table["TimeToLiveSpecification"])
	}
	if !reflect.DeepEqual(table["PointInTimeRecoverySpecification"], object{"PointInTimeRecoveryEnabled": "true"}) {
		t.Error("no point-in-time recovery")
	}
	delete(table, "TimeToLiveSpecification") // these two have calls of their own
	delete(table, "PointInTimeRecoverySpecification")
	definition := dynamostore.Definition("")
	definition.TableName = nil // left to CloudFormation
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

// stripped drops members that are null.
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

// permission is what an operation of the SDK needs, where that is not its own name.
// https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
var permission = map[string][]string{
	"sqs.SendMessageBatch":     {"sqs:SendMessage"},
	"sns.PublishBatch":         {"sns:Publish"},
	"lambda.Invoke":            {"lambda:InvokeFunction"},
	"scheduler.CreateSchedule": {"scheduler:CreateSchedule", "iam:PassRole"},
	"dynamodb.CreateTable":     nil, // the table's definition: nobody calls it
}

// called returns the permissions for the operations whose inputs the adapters build.
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

func TestTheTemplatePermitsWhatTheCodeCallsAndNothingElse(t *testing.T) {
	resources, want := template(t), called(t)
	ours := func(action string) bool { return strings.HasPrefix(action, "logs:") }
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

func TestNoPermissionIsAWildcardAndRolesArePassedToTheSchedulerAlone(t *testing.T) {
	resources := template(t)
	for name := range resources {
		for _, s := range statements(t, resources[name]) {
			for _, action := range strs(s["Action"]) {
				if strings.Contains(action, "*") || !strings.Contains(action, ":") {
					t.Errorf("%s allows %s", name, action)
				}
				passed := object{"StringEquals": object{"iam:PassedToService": "scheduler.amazonaws.com"}}
				if action == "iam:PassRole" && (!reflect.DeepEqual(s["Condition"], passed) || len(strs(s["Action"])) != 1) {
					t.Errorf("%s passes roles to others than the Scheduler", name)
				}
			}
			resource := strs(s["Resource"])
			if sub, ok := s["Resource"].(object); ok {
				resource = strs(sub["Fn::Sub"])
			}
			for _, r := range resource {
				// A schedule has its task's id for its name: only its group is known.
				if strings.Contains(strings.TrimSuffix(r, "}/*"), "*") || strings.HasSuffix(r, "*") && !strings.Contains(r, ":schedule/${") {
					t.Errorf("%s allows %s", name, r)
				}
			}
		}
	}
	for _, group := range []string{"FunctionRole", "ExampleAccess", "ExampleSchedulerRole", "ExampleWorkerRole"} {
		if len(statements(t, resources[group])) < 3 {
			t.Errorf("%s has lost its statements: has the template another shape?", group)
		}
	}
}
