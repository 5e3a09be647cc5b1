package main

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/taskgate/taskgate/adapters/azure/cosmosstore"
	"github.com/taskgate/taskgate/adapters/azure/customhandler"
	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/functions/settings"
)

// api wires the service and the handler over it.
func (c config) api(clouds *clouds, log *slog.Logger) httpapi.Config {
	auth := httpapi.Keys(c.APIKeys)
	if c.Auth == settings.AuthPlatform {
		auth = httpapi.FromPlatform
	}
	return httpapi.Config{
		Service: &task.Service{
			Store:           clouds.store,
			Backends:        clouds.backends,
			Tokens:          task.Tokens{Secrets: c.TokenSecrets},
			ResultTTL:       c.ResultTTL,
			MaxWait:         c.MaxWait,
			MaxPayloadBytes: cosmosstore.MaxPayloadBytes,
			Now:             time.Now,
			NewID:           task.NewID,
			Log:             log,
		},
		Auth:      auth,
		PublicURL: c.PublicURL,
		Log:       log,
	}
}

// caller is how the platform's word about the caller is read; nil = not at all.
func (c config) caller() func(*http.Request) string {
	switch c.platform {
	case easyAuth:
		return customhandler.EasyAuth
	case functionKeys:
		return customhandler.FunctionKey
	}
	return nil
}
