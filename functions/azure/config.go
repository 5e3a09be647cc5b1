package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/taskgate/taskgate/adapters/azure/customhandler"
	"github.com/taskgate/taskgate/adapters/azure/servicebusdispatch"
	"github.com/taskgate/taskgate/adapters/azure/storagequeuedispatch"
	"github.com/taskgate/taskgate/functions/settings"
)

// config is what the environment tells the Azure main.
type config struct {
	settings.Service
	port     int
	hostname string // WEBSITE_HOSTNAME
	platform string // who authenticates: easyAuth or functionKeys; "" = this process, by API keys
	cosmos   cosmosConfig
}

// cosmosConfig says where the records are, and who may get at them.
type cosmosConfig struct {
	connectionString    settings.Secret
	endpoint, loader    string // used when there is no connection string
	database, container string
}

// The values of TASKGATE_PLATFORM_AUTH.
const (
	easyAuth     = "easy_auth"
	functionKeys = "function_keys"
)

// readConfig reads the environment, and reports all its mistakes together.
func readConfig(environ []string, loaders []string) (config, error) {
	env := settings.NewEnv(environ)
	c := config{
		Service: env.Service(settings.Main{
			Name: "functions/azure",
			Serves: map[settings.Kind]settings.CheckQueue{
				settings.ServiceBusQueueBackend:     servicebusdispatch.CheckQueueName,
				settings.ServiceBusTopicBackend:     servicebusdispatch.CheckQueueName,
				settings.StorageAccountQueueBackend: storagequeuedispatch.CheckQueueName,
			},
			Auth:    []settings.Auth{settings.AuthKeys, settings.AuthPlatform},
			Loaders: loaders,
		}),
		hostname: env.String("WEBSITE_HOSTNAME", ""),
		cosmos:   readCosmos(env, loaders),
	}
	if env.Required(customhandler.PortVariable) != "" { // the host sets it
		c.port = env.Int(customhandler.PortVariable, 0, 1, 65535)
	}
	if c.PublicURL == "" && c.hostname == "" {
		env.Failf("TASKGATE_PUBLIC_URL is required where the platform sets no WEBSITE_HOSTNAME")
	}
	c.readPlatform(env)
	return c, env.Err()
}

func readCosmos(env *settings.Env, loaders []string) cosmosConfig {
	const connection, endpoint = "TASKGATE_COSMOS_CONNECTION_STRING", "TASKGATE_COSMOS_ENDPOINT"
	c := cosmosConfig{
		connectionString: env.Secret(connection),
		endpoint:         env.URL(endpoint),
		loader:           env.Loader("TASKGATE_COSMOS_CREDENTIAL_LOADER", loaders),
		database:         env.String("TASKGATE_COSMOS_DATABASE", "taskgate"),
		container:        env.String("TASKGATE_COSMOS_CONTAINER", "tasks"),
	}
	given := env.String(endpoint, "")
	switch {
	case c.connectionString == "" && given == "":
		env.Failf("%s is required, or %s", connection, endpoint)
	case c.connectionString != "" && given != "":
		env.Failf("%s and %s are both set; one of them is enough", connection, endpoint)
	}
	return c
}

// readPlatform reads how the platform authenticates callers. A way is trusted only
// where the environment shows that the platform uses it: otherwise a client could
// claim to be anybody.
func (c *config) readPlatform(env *settings.Env) {
	const name = "TASKGATE_PLATFORM_AUTH"
	how := env.String(name, "")
	if c.Auth != settings.AuthPlatform {
		if how != "" {
			env.Failf("%s is set, but TASKGATE_AUTH is %s, which ignores it", name, c.Auth)
		}
		return
	}
	if how == "" {
		env.Failf("%s is required when TASKGATE_AUTH is platform: %s or %s", name, easyAuth, functionKeys)
		return
	}
	c.platform = env.Choice(name, easyAuth, functionKeys)
	switch {
	case how != c.platform:
	case how == easyAuth && !strings.EqualFold(env.String("WEBSITE_AUTH_ENABLED", ""), "true"):
		// https://learn.microsoft.com/azure/app-service/reference-app-settings#authentication--authorization
		env.Failf("%s is %s, but WEBSITE_AUTH_ENABLED, which the platform sets, is not True: clients could claim to be anybody", name, how)
	case how == functionKeys:
		if err := keysAreChecked(env.String("FUNCTIONS_APP_ROOT_PATH", ".")); err != nil {
			env.Failf("%s is %s, but %v: stage the app by make azure AZURE_AUTH=function-keys", name, how, err)
		}
	}
}

// keysAreChecked reports why the host does not ask for a function key on every
// path that needs a caller.
func keysAreChecked(root string) error {
	text, err := os.ReadFile(filepath.Join(root, "api", "function.json"))
	if err != nil {
		return err
	}
	var function struct {
		Bindings []struct {
			Type      string `json:"type"`
			AuthLevel string `json:"authLevel"`
		} `json:"bindings"`
	}
	if err := json.Unmarshal(text, &function); err != nil {
		return fmt.Errorf("api/function.json cannot be read: %w", err)
	}
	for _, b := range function.Bindings {
		if b.Type == "httpTrigger" && !strings.EqualFold(b.AuthLevel, "function") && !strings.EqualFold(b.AuthLevel, "admin") {
			return fmt.Errorf("api/function.json has authLevel %q", b.AuthLevel)
		}
	}
	return nil
}

// caller returns what reads the caller that the platform has authenticated; nil
// where the platform authenticates nobody.
func (c config) caller() func(*http.Request) string {
	switch c.platform {
	case easyAuth:
		return customhandler.EasyAuth
	case functionKeys:
		return customhandler.FunctionKey
	}
	return nil
}
