package main_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// standIn is a sam that records its arguments, and the file with the parameters.
const standIn = `#!/bin/sh
printf '%s\0' "$@" >>"$RECORD/argv"
for argument; do
	case $argument in file://*.yaml) cp "${argument#file://}" "$RECORD/parameters";; esac
done
`

// deployment is what the stand-in recorded.
type deployment struct {
	argv       []string
	parameters map[string]string // as the SAM CLI reads them
}

// deploy runs the real `make deploy-aws` with a stand-in for the SAM CLI.
func deploy(t *testing.T, variables ...string) (d deployment, out string, err error) {
	t.Helper()
	dir := t.TempDir()
	sam := filepath.Join(dir, "sam")
	if err := os.WriteFile(sam, []byte(standIn), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("make", append([]string{"-s", "deploy-aws"}, variables...)...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "SAM="+sam, "RECORD="+dir, "MAKEFLAGS=", "TASKS=", "PARAMETERS=")
	b, err := cmd.CombinedOutput()
	if argv, readErr := os.ReadFile(filepath.Join(dir, "argv")); readErr == nil {
		d.argv = strings.Split(strings.TrimSuffix(string(argv), "\x00"), "\x00")
	}
	if text, readErr := os.ReadFile(filepath.Join(dir, "parameters")); readErr == nil {
		if err := json.Unmarshal(text, &d.parameters); err != nil {
			t.Fatal(err)
		}
		for name, value := range d.parameters {
			d.parameters[name] = unquoted(unquoted(value))
		}
	}
	return d, string(b), err
}

// unquoted does what the SAM CLI does, twice, to a parameter's value in a file.
func unquoted(value string) string {
	if n := len(value); n > 0 && value[0] == value[n-1] && (value[0] == '"' || value[0] == '\'') {
		value = value[1:max(1, n-1)]
	}
	for _, escaped := range []string{`\ `, `\"`, `\'`} {
		value = strings.ReplaceAll(value, escaped, escaped[1:])
	}
	return value
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const tasks = `{"default": {"BACKEND": "taskgate.SQSBackend", "QUEUES": ["emails"]}}`

func TestParametersReachTheSAMCLIUnchanged(t *testing.T) {
	canary := filepath.Join(t.TempDir(), "a-shell-ran")
	evil := `&;$HOME$(touch${IFS}` + canary + `)` + "`touch${IFS}" + canary + "`" + `|'"\"\\|>x#%$$(shell${IFS}touch)*?~!`
	spaced := "a  b\n\tc\\ d " + evil + ` "`
	// The options of a backend may hold any text. A quote and an escaped quote are JSON's own.
	quoted := `{"default": {"BACKEND": "taskgate.SQSBackend", "QUEUES": ["it's", "a\"b", "\\\"", "ü;&$x"]}}` + "\n"
	parameters, err := json.Marshal(map[string]string{"JwtIssuer": spaced, "ApiKeys": "", "JwtAudience": `"quoted"`, "DomainName": `'`, "Release": "r1"})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		variables []string
		want      map[string]string
	}{
		"words":           {[]string{"PARAMETERS=DeployExample=true  JwtIssuer=" + evil + " Release=r1 JwtAudience=a=b"}, map[string]string{"DeployExample": "true", "JwtIssuer": evil, "Release": "r1", "JwtAudience": "a=b"}},
		"tasks":           {[]string{"TASKS=" + file(t, "my tasks;&.json", quoted), "PARAMETERS=Release=r1"}, map[string]string{"Tasks": quoted, "Release": "r1"}},
		"parameters file": {[]string{"PARAMETERS=" + file(t, "parameters.json", string(parameters))}, map[string]string{"JwtIssuer": spaced, "ApiKeys": "", "JwtAudience": `"quoted"`, "DomainName": `'`, "Release": "r1"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d, out, err := deploy(t, tt.variables...)
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if got, want := len(d.parameters), len(tt.want); got != want {
				t.Errorf("%d parameters arrived, want %d: %q", got, want, d.parameters)
			}
			for name, value := range tt.want {
				if d.parameters[name] != value {
					t.Errorf("%s arrived as\n%q, want\n%q", name, d.parameters[name], value)
				}
			}
			argv := strings.Join(d.argv, " ")
			if !regexp.MustCompile(`^build --config-file infra/aws/samconfig.toml deploy --config-file infra/aws/samconfig.toml --parameter-overrides file:///\S+$`).MatchString(argv) {
				t.Errorf("sam got %q", d.argv)
			}
			if _, err := os.Stat(strings.TrimPrefix(d.argv[len(d.argv)-1], "file://")); err == nil {
				t.Error("the file with the parameters is still there")
			}
		})
	}
	if _, err := os.Stat(canary); err == nil {
		t.Error("a shell evaluated a value")
	}
}

func TestEachDeploymentHasANewRelease(t *testing.T) {
	seen := map[string]bool{}
	for range 2 {
		d, out, err := deploy(t)
		release := d.parameters["Release"]
		if err != nil || !regexp.MustCompile(`^[A-Za-z0-9]{10,64}$`).MatchString(release) {
			t.Fatalf("release %q, %v: %s", release, err, out)
		}
		if seen[release[:10]] {
			t.Errorf("the first ten characters of release %s are not new", release)
		}
		seen[release[:10]] = true
	}
}

func TestNonsenseIsRefusedBeforeAnythingIsBuiltOrSent(t *testing.T) {
	tests := map[string]struct {
		variables []string
		want      string
	}{
		"missing file":          {[]string{"TASKS=missing.json"}, "missing.json"},
		"directory":             {[]string{"TASKS=tools"}, "tools"},
		"empty file":            {[]string{"TASKS=" + file(t, "t.json", " \n")}, "is empty"},
		"byte order mark":       {[]string{"TASKS=" + file(t, "t.json", "\ufeff"+tasks)}, "byte order mark"},
		"UTF-16":                {[]string{"TASKS=" + file(t, "t.json", "\xff\xfe{\x00}\x00")}, "byte order mark"},
		"not UTF-8":             {[]string{"TASKS=" + file(t, "t.json", "{\"\xfc\": {}}")}, "not UTF-8"},
		"invalid JSON":          {[]string{"TASKS=" + file(t, "t.json", `{"default": {"BACKEND": 'x'}}`)}, "is not valid JSON"},
		"invalid backend":       {[]string{"TASKS=" + file(t, "t.json", `{"default": {"BACKEND": "taskgate.SQSBackends"}}`)}, "SQSBackend"},
		"too long":              {[]string{"TASKS=" + file(t, "t.json", strings.Replace(tasks, "emails", strings.Repeat("e", 250)+`","`+strings.Repeat("f", 250)+`", "`+strings.Repeat(`x", "`, 800), 1))}, "CloudFormation allows 4096"},
		"placeholder":           {[]string{"PARAMETERS=ApiKeys=me:enqueue+read:<sha256>"}, "<sha256>"},
		"placeholder in tasks":  {[]string{"TASKS=" + file(t, "t.json", strings.Replace(tasks, "emails", "<queue>", 1))}, "<queue>"},
		"unknown parameter":     {[]string{"PARAMETERS=ApiKey=x"}, `no parameter "ApiKey"`},
		"no value":              {[]string{"PARAMETERS=DeployExample"}, "not Name=value"},
		"a value with a space":  {[]string{"PARAMETERS=JwtAudience=a b"}, "not Name=value"},
		"given twice":           {[]string{"PARAMETERS=DeployExample=true DeployExample=false"}, "given twice"},
		"tasks given twice":     {[]string{"TASKS=" + file(t, "t.json", tasks), "PARAMETERS=Tasks={}"}, "given twice"},
		"missing parameters":    {[]string{"PARAMETERS=missing.json"}, "missing.json"},
		"parameters, no object": {[]string{"PARAMETERS=" + file(t, "p.json", `["a"]`)}, "JSON object"},
		"parameters, null":      {[]string{"PARAMETERS=" + file(t, "p.json", `null`)}, "JSON object"},
		"parameters, repeated":  {[]string{"PARAMETERS=" + file(t, "p.json", `{"Release": "a", "Release": "b"}`)}, "Release"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d, out, err := deploy(t, tt.variables...)
			if err == nil || !strings.Contains(out, tt.want) {
				t.Errorf("%v: %s\nwant a message with %q", err, out, tt.want)
			}
			if d.argv != nil {
				t.Errorf("sam ran: %q", d.argv)
			}
		})
	}
}

// TestFailureOfTheSAMCLIFailsTheDeployment: make must not report success.
func TestFailureOfTheSAMCLIFailsTheDeployment(t *testing.T) {
	cmd := exec.Command("make", "-s", "deploy-aws")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "SAM=false", "MAKEFLAGS=", "TASKS=", "PARAMETERS=")
	if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("false build")) {
		t.Errorf("%v: %s", err, out)
	}
}

// TestMakeGivesNoValueToAShell covers the other targets that take values.
func TestMakeGivesNoValueToAShell(t *testing.T) {
	canary := filepath.Join(t.TempDir(), "a-shell-ran")
	evil := t.TempDir() + `/x"; touch ` + canary + `; $(touch ` + canary + `) $$(touch ` + canary + "); `touch " + canary + "`; $(shell touch " + canary + ") '"
	for target, names := range map[string][]string{
		"key":   {"NAME", "SCOPES"},
		"azure": {"BUILD", "ARCH", "AZURE_AUTH"},
		"aws":   {"BUILD", "ARCH"},
		"local": {"ARCH"},
	} {
		for _, name := range names {
			// ARCH is wrong in every run, so that nothing is built.
			cmd := exec.Command("make", "-s", target, "ARCH=none", name+"="+evil)
			cmd.Dir = "../.."
			cmd.Env = append(os.Environ(), "MAKEFLAGS=")
			if out, err := cmd.CombinedOutput(); err == nil {
				t.Errorf("make %s %s=… succeeded: %s", target, name, out)
			}
			if _, err := os.Stat(canary); err == nil {
				t.Fatalf("make %s let a shell evaluate %s", target, name)
			}
		}
	}
}

// TestRealSAMCLIReadsParametersUnchanged holds unquoted, and with it the other
// tests, to the SAM CLI itself: its own command line, up to where it would talk to
// AWS. `make sam-check` sets SAM_CLI.
func TestRealSAMCLIReadsParametersUnchanged(t *testing.T) {
	sam := os.Getenv("SAM_CLI")
	if sam == "" {
		t.Skip("SKIPPED: SAM_CLI does not name the SAM CLI; make sam-check runs this test")
	}
	script, err := os.ReadFile(sam)
	if err != nil {
		t.Fatal(err)
	}
	interpreter, _, _ := strings.Cut(string(script), "\n")
	dir := t.TempDir()
	code := interpreter + `
import inspect, json, os, sys
import samcli.commands.deploy.command as deploy
from samcli.cli.main import cli
signature = inspect.signature(deploy.do_cli)
def record(*positional, **named):
    arguments = signature.bind(*positional, **named).arguments
    with open(os.environ["RECORD"], "w") as f:
        json.dump([arguments["stack_name"], arguments["parameter_overrides"]], f)
deploy.do_cli = record
if sys.argv[1] == "deploy":
    cli(prog_name="sam")
`
	stub := filepath.Join(dir, "sam")
	if err := os.WriteFile(stub, []byte(code), 0o700); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"JwtIssuer": `{"a": "it's \"b\" \\\" \\ c", "d": "` + `\ \"\' $x` + `"}\`, "JwtAudience": `"quoted"`, "ApiKeys": "", "DomainName": " a\n'", "Release": "r1"}
	parameters, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("make", "-s", "deploy-aws", "PARAMETERS="+file(t, "parameters.json", string(parameters)))
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "SAM="+stub, "RECORD="+filepath.Join(dir, "record"), "MAKEFLAGS=", "TASKS=", "SAM_CLI_TELEMETRY=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "record"))
	if err != nil {
		t.Fatal(err)
	}
	var got [2]json.RawMessage
	var read map[string]string
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got[1], &read); err != nil {
		t.Fatal(err)
	}
	if string(got[0]) != `"taskgate"` { // from infra/aws/samconfig.toml
		t.Errorf("the SAM CLI did not read the configuration file: the stack is %s", got[0])
	}
	if !maps.Equal(read, want) {
		t.Errorf("the SAM CLI read\n%q, want\n%q", read, want)
	}
}
