package main_test

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/taskgate/taskgate/tests/emulators/functionshost"
)

// binding is one binding of a function.json.
type binding struct {
	Type, Direction, Name, AuthLevel, Connection  string
	Route, QueueName, TopicName, SubscriptionName string
	Methods                                       []string
}

// bindings reads an app's functions, by name.
func bindings(t *testing.T, app string) map[string][]binding {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(app, "*", "function.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	all := map[string][]binding{}
	for _, file := range files {
		var f struct{ Bindings []binding }
		readJSON(t, file, &f)
		all[filepath.Base(filepath.Dir(file))] = f.Bindings
	}
	return all
}

func readJSON(t *testing.T, file string, v any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func TestStagedFoldersHoldOnlyWhatIsDeployed(t *testing.T) {
	for app, executable := range map[string]string{"azure": "taskgate", "azure-worker": "taskgate-worker"} {
		dir := filepath.Join(staged, app)
		var host struct {
			Version       string
			CustomHandler struct {
				Description                                            struct{ DefaultExecutablePath string }
				EnableForwardingHTTPRequest, EnableProxyingHTTPRequest bool
			}
			Extensions struct{ HTTP struct{ RoutePrefix *string } }
		}
		readJSON(t, filepath.Join(dir, "host.json"), &host)
		if host.Version != "2.0" || host.CustomHandler.Description.DefaultExecutablePath != executable ||
			host.Extensions.HTTP.RoutePrefix == nil || *host.Extensions.HTTP.RoutePrefix != "" {
			t.Errorf("%s: host.json is %+v", app, host)
		}
		if http := app == "azure"; host.CustomHandler.EnableForwardingHTTPRequest != http || host.CustomHandler.EnableProxyingHTTPRequest != http {
			t.Errorf("%s: %+v", app, host.CustomHandler)
		}
		known := regexp.MustCompile(`^(host\.json|local\.settings\.json|` + executable + `|[A-Za-z][A-Za-z0-9_-]*/function\.json)$`)
		var files []string
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name, err := filepath.Rel(dir, path)
			if !known.MatchString(name) {
				t.Errorf("%s: %s is staged", app, name)
			}
			info, statErr := d.Info()
			if statErr == nil && (info.Mode().Perm()&0o111 != 0) != (name == executable) {
				t.Errorf("%s: %s has mode %v", app, name, info.Mode())
			}
			files = append(files, name)
			return err
		})
		if err != nil || !slices.Contains(files, executable) || !slices.Contains(files, "local.settings.json") {
			t.Errorf("%s: %v, %v", app, files, err)
		}
	}
}

func TestRoutesAreExactlyTheAPIs(t *testing.T) {
	var routes []string
	for name, all := range bindings(t, filepath.Join(staged, "azure")) {
		if len(all) != 2 || all[0].Type != "httpTrigger" || all[0].Direction != "in" || all[1].Type != "http" || all[1].Direction != "out" {
			t.Errorf("the host would send %s a payload instead of the request: %+v", name, all)
			continue
		}
		if all[0].AuthLevel != "anonymous" || all[0].Methods != nil { // the application answers 405 itself
			t.Errorf("%s: %+v", name, all[0])
		}
		routes = append(routes, all[0].Route)
	}
	slices.Sort(routes)
	if want := []string{"healthz", "openapi.json", "v1/{*path}"}; !slices.Equal(routes, want) {
		t.Errorf("the routes are %q, want %q", routes, want)
	}
	for name, all := range bindings(t, filepath.Join(staged, "azure-worker")) {
		if len(all) != 1 || !slices.Contains([]string{"serviceBusTrigger", "queueTrigger"}, all[0].Type) {
			t.Errorf("the worker's %s has another trigger than a queue: %+v", name, all)
		}
	}
}

func TestEveryRouteReachesTheAPI(t *testing.T) {
	c := newCloud(t)
	h := functionshost.Start(t, filepath.Join(staged, "azure"), functionshost.Options{Settings: c.apiSettings()})
	for _, all := range bindings(t, filepath.Join(staged, "azure")) {
		path := "/" + strings.Replace(all[0].Route, "{*path}", "capabilities", 1)
		if status, answer := newClient(t, h.URL()).send(t.Context(), "GET", path, ""); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
}

// TestBindingSettingsAreSetLocallyAndInAzure: a function whose setting is missing
// never runs.
func TestBindingSettingsAreSetLocallyAndInAzure(t *testing.T) {
	var local struct{ Values map[string]string }
	readJSON(t, filepath.Join(staged, "azure-worker", "local.settings.json"), &local)
	infra, err := os.ReadFile("../../infra/azure/main.tf")
	if err != nil {
		t.Fatal(err)
	}
	for name, all := range bindings(t, filepath.Join(staged, "azure-worker")) {
		for _, b := range all {
			names := []string{b.Connection}
			for _, m := range regexp.MustCompile(`%([^%]+)%`).FindAllStringSubmatch(b.QueueName+b.TopicName+b.SubscriptionName, -1) {
				names = append(names, m[1])
			}
			if len(names) == 1 || b.Connection == "" {
				t.Errorf("%s names no queue, or no connection: %+v", name, b)
			}
			for _, setting := range names {
				if _, ok := local.Values[setting]; !ok {
					t.Errorf("%s: %s is not in local.settings.json", name, setting)
				}
				if !regexp.MustCompile(`(?m)^\s+` + setting + `(__\w+)?\s+=`).Match(infra) {
					t.Errorf("%s: %s is not in infra/azure", name, setting)
				}
			}
		}
	}
}

func TestLocalSettingsHoldNoSecret(t *testing.T) {
	for _, app := range []string{"azure", "azure-worker"} {
		var local struct {
			IsEncrypted bool
			Values      map[string]string
		}
		readJSON(t, filepath.Join(staged, app, "local.settings.json"), &local)
		if local.Values["FUNCTIONS_WORKER_RUNTIME"] != "custom" {
			t.Errorf("%s: %v", app, local.Values)
		}
		for name, value := range local.Values {
			secret := regexp.MustCompile(`KEYS|SECRETS|CONNECTION_STRING|TASKS$|ServiceBus$`).MatchString(name)
			if secret && value != "" || strings.Contains(value, "Key=") {
				t.Errorf("%s: %s is %q", app, name, value)
			}
		}
	}
}
