package main

import (
	"log/slog"
	"net/http"

	"github.com/taskgate/taskgate/adapters/azure/cosmosstore"
	"github.com/taskgate/taskgate/adapters/azure/customhandler"
	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/functions/wiring"
)

// api wires the service over the clients.
func (c config) api(clouds *clouds, log *slog.Logger) httpapi.Config {
	return wiring.API(c.Service, clouds.store, cosmosstore.MaxPayloadBytes, clouds.backends, log)
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
