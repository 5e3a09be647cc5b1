// Command deploy-aws builds and deploys template.yaml with the SAM CLI. It reads
// what to deploy from its environment, where `make deploy-aws` puts it:
//
//	TASKS       a file with the backends, as JSON; empty = the parameter Tasks is not set
//	PARAMETERS  parameters of template.yaml, as Name=value words without white space
//	            in a value; or the name of a .json file with an object of strings
//	SAM         the SAM CLI; empty = sam
//
// A parameter that is not given keeps the value of the last deployment. No shell
// reads a value: the SAM CLI gets them in a file that only this user can read.
// Whatever is wrong with the values is reported before anything is built or sent.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pb33f/go-yaml"

	"github.com/taskgate/taskgate/core/strictjson"
	"github.com/taskgate/taskgate/functions/settings"
)

const (
	templateFile = "template.yaml"
	configFile   = "infra/aws/samconfig.toml"

	// maxValue is the longest value of a parameter, in bytes:
	// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
	maxValue = 4096
)

func main() {
	if err := run(os.Getenv("TASKS"), os.Getenv("PARAMETERS"), os.Getenv("SAM")); err != nil {
		fmt.Fprintln(os.Stderr, "deploy-aws:", err)
		os.Exit(1)
	}
}

func run(tasks, parameters, sam string) error {
	known, err := templateParameters()
	if err != nil {
		return err
	}
	values, err := readValues(tasks, parameters, known)
	if err != nil {
		return err
	}
	if values["Release"] == "" {
		release := make([]byte, 8)
		rand.Read(release) // never fails: crypto/rand
		values["Release"] = hex.EncodeToString(release)
	}
	return deploy(values, sam)
}

// templateParameters returns the names of the template's parameters.
func templateParameters() ([]string, error) {
	text, err := os.ReadFile(templateFile)
	if err != nil {
		return nil, err
	}
	var template struct {
		Parameters map[string]struct {
			Type string `yaml:"Type"`
		} `yaml:"Parameters"`
	}
	if err := yaml.Unmarshal(text, &template); err != nil {
		return nil, fmt.Errorf("%s: %w", templateFile, err)
	}
	return slices.Sorted(maps.Keys(template.Parameters)), nil
}

// readValues returns the values to deploy with, by parameter. The error names
// everything that is wrong.
func readValues(tasks, parameters string, known []string) (map[string]string, error) {
	values, err := readParameters(parameters)
	if err != nil {
		return nil, err
	}
	var errs []error
	if tasks != "" {
		if _, ok := values["Tasks"]; ok {
			errs = append(errs, errors.New("Tasks is given twice, by TASKS and by PARAMETERS"))
		}
		text, err := readText(tasks)
		if err != nil {
			return nil, fmt.Errorf("TASKS: %w", err)
		}
		values["Tasks"] = string(text)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values[name]
		switch {
		case !slices.Contains(known, name):
			errs = append(errs, fmt.Errorf("%s has no parameter %q; it has %s", templateFile, name, strings.Join(known, ", ")))
		case placeholder.MatchString(value):
			errs = append(errs, fmt.Errorf("%s still has the placeholder %s", name, placeholder.FindString(value)))
		case len(value) > maxValue:
			errs = append(errs, fmt.Errorf("%s has %d bytes; CloudFormation allows %d", name, len(value), maxValue))
		case name == "Tasks" && value != "":
			if _, err := settings.ParseTasks([]byte(value), settings.Main{}); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return values, errors.Join(errs...)
}

// placeholder matches what the documentation shows where a value of one's own
// goes, such as <sha256>.
var placeholder = regexp.MustCompile(`<[A-Za-z][^<>{}"]*>`)

// readParameters reads PARAMETERS: words, or a JSON file.
func readParameters(parameters string) (map[string]string, error) {
	values := map[string]string{}
	if file := strings.TrimSpace(parameters); strings.HasSuffix(file, ".json") && !strings.Contains(file, "=") {
		text, err := readText(file)
		if err != nil {
			return nil, fmt.Errorf("PARAMETERS: %w", err)
		}
		if err := strictjson.Check(text); err != nil {
			return nil, fmt.Errorf("PARAMETERS: %s: %w", file, err)
		}
		if err := json.Unmarshal(text, &values); err != nil || values == nil {
			return nil, fmt.Errorf("PARAMETERS: %s must be a JSON object whose values are strings", file)
		}
		return values, nil
	}
	for _, word := range strings.Fields(parameters) {
		name, value, ok := strings.Cut(word, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("PARAMETERS: %q is not Name=value; put values with white space into a JSON file, and name that: PARAMETERS=parameters.json", word)
		}
		if _, repeated := values[name]; repeated {
			return nil, fmt.Errorf("PARAMETERS: %s is given twice", name)
		}
		values[name] = value
	}
	return values, nil
}

// readText reads a file that must be UTF-8 without a byte order mark, and not
// empty.
func readText(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	switch {
	case err != nil:
		return nil, err
	case bytes.HasPrefix(text, []byte("\xef\xbb\xbf")), bytes.HasPrefix(text, []byte("\xff\xfe")), bytes.HasPrefix(text, []byte("\xfe\xff")):
		return nil, fmt.Errorf("%s begins with a byte order mark; save it as UTF-8 without one", file)
	case !utf8.Valid(text):
		return nil, fmt.Errorf("%s is not UTF-8", file)
	case len(bytes.TrimSpace(text)) == 0:
		return nil, fmt.Errorf("%s is empty", file)
	}
	return text, nil
}

// deploy runs sam build and sam deploy.
func deploy(values map[string]string, sam string) error {
	dir, err := os.MkdirTemp("", "taskgate-deploy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	encoded := map[string]string{}
	for name, value := range values {
		encoded[name] = escaper.Replace(escaper.Replace(value)) // the SAM CLI does it twice for a file
	}
	text, err := json.Marshal(encoded)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "parameters.yaml") // JSON is YAML; the SAM CLI reads no .json file
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	if sam == "" {
		sam = "sam"
	}
	if err := command(sam, "build", "--config-file", configFile); err != nil {
		return err
	}
	return command(sam, "deploy", "--config-file", configFile, "--parameter-overrides", "file://"+file)
}

// escaper undoes in advance what the SAM CLI 1.170 does to each value, even to one
// from a file: it removes the backslash before a space and before a quote, and a
// pair of quotes around the value (samcli/cli/types.py, _unquote_wrapped_quotes).
// TestRealSAMCLIReadsParametersUnchanged fails when another version does not.
var escaper = strings.NewReplacer(` `, `\ `, `"`, `\"`, `'`, `\'`)

// command runs a program in this process's terminal, without a shell.
func command(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// The SAM CLI builds with make, which must not take over this make's variables.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		variable, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "TASKS", "PARAMETERS"}, variable)
	})
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, args[0], err)
	}
	return nil
}
