package functionshost

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// hostConfig is the part of host.json that matters here, with its defaults.
// https://learn.microsoft.com/azure/azure-functions/functions-host-json
type hostConfig struct {
	Version       string
	CustomHandler struct {
		Description struct {
			DefaultExecutablePath string
			WorkingDirectory      string
			Arguments             []string
		}
		EnableForwardingHTTPRequest bool `json:"enableForwardingHttpRequest"`
		EnableProxyingHTTPRequest   bool `json:"enableProxyingHttpRequest"`
	}
	Extensions struct {
		HTTP   struct{ RoutePrefix string }
		Queues struct {
			BatchSize         int
			NewBatchThreshold int // messages being handled, at which the next batch is fetched
			MaxDequeueCount   int64
			MessageEncoding   string // base64 or none
		}
		ServiceBus struct{ MaxConcurrentCalls int }
	}
	FunctionTimeout string // hh:mm:ss; "" = none here
}

// timeoutOverride is the app setting that stands for host.json's functionTimeout.
const timeoutOverride = "AzureFunctionsJobHost__functionTimeout"

// functionTimeout is how long an invocation may run; 0 = for ever.
func functionTimeout(config hostConfig, settings map[string]string) (time.Duration, error) {
	text := cmp.Or(settings[timeoutOverride], config.FunctionTimeout)
	if text == "" || text == "-1" {
		return 0, nil
	}
	clock, err := time.Parse(time.TimeOnly, text)
	if err != nil {
		return 0, fmt.Errorf("functionshost: functionTimeout: %w", err)
	}
	return clock.Sub(clock.Truncate(24 * time.Hour)), nil
}

// binding is one binding of a function.json, of any type.
type binding struct {
	Type, Direction, Name string
	// httpTrigger
	AuthLevel string
	Methods   []string
	Route     *string
	// queueTrigger, serviceBusTrigger
	QueueName, TopicName, SubscriptionName, Connection string
}

// function is one function: its trigger, and whether it answers an HTTP request itself.
type function struct {
	name    string
	trigger binding
	inOut   bool // exactly one httpTrigger and one http output
	route   route
}

// load reads host.json and, exactly one level below it, every function.json.
func load(dir string, settings map[string]string) (hostConfig, []function, error) {
	var config hostConfig
	config.Extensions.HTTP.RoutePrefix = "api"
	config.Extensions.Queues.BatchSize = 16
	config.Extensions.Queues.NewBatchThreshold = -1 // half a batch
	config.Extensions.Queues.MaxDequeueCount = 5
	config.Extensions.Queues.MessageEncoding = "base64"
	config.Extensions.ServiceBus.MaxConcurrentCalls = 16
	if err := readJSON(filepath.Join(dir, "host.json"), &config); err != nil {
		return config, nil, err
	}
	if q := &config.Extensions.Queues; q.NewBatchThreshold < 0 {
		q.NewBatchThreshold = q.BatchSize / 2
	}
	if config.Version != "2.0" {
		return config, nil, fmt.Errorf(`functionshost: host.json has version %q, want "2.0"`, config.Version)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "function.json"))
	if err != nil {
		return config, nil, err
	}
	var functions []function
	for _, file := range files {
		f, err := loadFunction(file, config.Extensions.HTTP.RoutePrefix, settings)
		if err != nil {
			return config, nil, err
		}
		if f.trigger.Type == "httpTrigger" && (!f.inOut || !(config.CustomHandler.EnableForwardingHTTPRequest || config.CustomHandler.EnableProxyingHTTPRequest)) {
			return config, nil, fmt.Errorf("functionshost: %s: HTTP in payload mode is not served by this host", f.name)
		}
		functions = append(functions, f)
	}
	if len(functions) == 0 {
		return config, nil, fmt.Errorf("functionshost: no functions found in %s", dir)
	}
	return config, functions, nil
}

func loadFunction(file, prefix string, settings map[string]string) (function, error) {
	f := function{name: filepath.Base(filepath.Dir(file))}
	var found struct{ Bindings []binding }
	if err := readJSON(file, &found); err != nil {
		return f, err
	}
	outputs := 0
	for _, b := range found.Bindings {
		switch {
		case strings.HasSuffix(b.Type, "Trigger") && f.trigger.Type != "":
			return f, fmt.Errorf("functionshost: %s has two triggers", f.name)
		case strings.HasSuffix(b.Type, "Trigger"):
			f.trigger = b
		case b.Type == "http" && strings.EqualFold(b.Direction, "out"):
			outputs++
		}
	}
	f.inOut = f.trigger.Type == "httpTrigger" && outputs == 1 && len(found.Bindings) == 2
	for _, name := range []*string{&f.trigger.QueueName, &f.trigger.TopicName, &f.trigger.SubscriptionName} {
		var err error
		if *name, err = expand(*name, settings); err != nil {
			return f, fmt.Errorf("functionshost: %s: %w", f.name, err)
		}
	}
	switch f.trigger.Type {
	case "httpTrigger":
		template := f.name
		if f.trigger.Route != nil {
			template = *f.trigger.Route
		}
		f.route = parseRoute(strings.Trim(prefix+"/"+template, "/"))
	case "queueTrigger", "serviceBusTrigger":
	default:
		return f, fmt.Errorf("functionshost: %s: trigger %q is not served by this host", f.name, f.trigger.Type)
	}
	return f, nil
}

var setting = regexp.MustCompile(`%[^%]+%`)

// expand puts app settings in for %NAME%:
// https://learn.microsoft.com/azure/azure-functions/functions-bindings-expressions-patterns#binding-expressions---app-settings
func expand(text string, settings map[string]string) (string, error) {
	var missing error
	expanded := setting.ReplaceAllStringFunc(text, func(name string) string {
		value, ok := settings[strings.Trim(name, "%")]
		if !ok {
			missing = fmt.Errorf("app setting %s is missing", name)
		}
		return value
	})
	return expanded, missing
}

// connection is the connection string that a trigger's connection property names; fallback is the
// property's default.
func (h *Host) connection(f function, fallback string) (string, error) {
	name := f.trigger.Connection
	if name == "" {
		name = fallback
	}
	for _, key := range []string{name, "AzureWebJobs" + name} {
		if value := h.options.Settings[key]; value != "" {
			return value, nil
		}
	}
	return "", fmt.Errorf("functionshost: %s: app setting %s is missing or empty", f.name, name)
}

// readJSON decodes a file; like the host's reader, it does not mind the case of names.
func readJSON(file string, into any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("functionshost: %s: %w", file, err)
	}
	return nil
}
