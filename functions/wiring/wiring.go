// Package wiring puts the service together, in the same way for every main
// that serves the API. It links no cloud: each main brings the store and the
// dispatchers of its own platform.
package wiring

import (
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/task"
	"github.com/taskgate/taskgate/functions/settings"
)

// API returns what the HTTP handler needs: the service over a main's store and
// backends (by alias), and how callers are authenticated. maxPayloadBytes is
// how much of args, kwargs and metadata the store holds, as JSON.
func API(s settings.Service, store task.Store, maxPayloadBytes int, backends map[string]task.Backend, log *slog.Logger) httpapi.Config {
	for _, warning := range s.Warnings {
		log.Warn("a setting has no effect", "reason", warning)
	}
	return httpapi.Config{
		Service: &task.Service{
			Store:           store,
			Backends:        backends,
			PassedOver:      s.PassedOver,
			Tokens:          task.Tokens{Secrets: s.TokenSecrets},
			ResultTTL:       s.ResultTTL,
			MaxWait:         s.MaxWait,
			MaxPayloadBytes: maxPayloadBytes,
			Now:             time.Now,
			NewID:           task.NewID,
			Log:             log,
		},
		Auth:      auth(s),
		PublicURL: s.PublicURL,
		Log:       log,
	}
}

// Backend returns one backend of the settings, which sends through d. The
// target is the name that documents and capabilities show: "sqs", "local", ….
func Backend(b settings.Backend, target string, d task.Dispatcher) task.Backend {
	return task.Backend{
		Dispatcher:     d,
		Target:         target,
		Queues:         b.Queues,
		DefaultQueue:   b.DefaultQueue,
		Payload:        b.Payload,
		PriorityQueues: b.PriorityQueues,
		CheckQueue:     b.CheckQueue,
	}
}

// auth returns the authentication that TASKGATE_AUTH names. [settings] has
// checked that the main allows it.
func auth(s settings.Service) httpapi.Auth {
	switch s.Auth {
	case settings.AuthPlatform:
		return withAdmins(httpapi.FromPlatform, s.Admins)
	case settings.AuthNone:
		return httpapi.AllowAll
	default:
		return httpapi.Keys(s.APIKeys)
	}
}

// withAdmins gives the callers of these names the scope admin.
func withAdmins(auth httpapi.Auth, names []string) httpapi.Auth {
	return func(r *http.Request) (httpapi.Caller, error) {
		caller, err := auth(r)
		if err == nil && slices.Contains(names, caller.Name) {
			caller.Scopes = append(slices.Clone(caller.Scopes), httpapi.ScopeAdmin)
		}
		return caller, err
	}
}
