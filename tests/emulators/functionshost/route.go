package functionshost

import (
	"slices"
	"strings"
)

// route is a route template, split at its slashes. Parameters' constraints ({id:guid}) are not checked.
// https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger#customize-the-http-endpoint
type route []string

func parseRoute(template string) route {
	if template == "" {
		return nil
	}
	return strings.Split(template, "/")
}

// kinds of segments, the most specific first.
const (
	literal = iota
	parameter
	catchAll
)

func kind(segment string) int {
	switch {
	case strings.HasPrefix(segment, "{*"):
		return catchAll
	case strings.HasPrefix(segment, "{"):
		return parameter
	}
	return literal
}

// match tells whether the route takes a path. Literals do not mind case, as in ASP.NET.
func (r route) match(path string) bool {
	path = strings.Trim(path, "/")
	var segments []string
	if path != "" {
		segments = strings.Split(path, "/")
	}
	for i, want := range r {
		switch k := kind(want); {
		case k == catchAll:
			return true // of nothing, too
		case i >= len(segments):
			return k == parameter && strings.HasSuffix(want, "?}") && i == len(r)-1
		case k == literal && !strings.EqualFold(want, segments[i]):
			return false
		}
	}
	return len(segments) <= len(r)
}

// compare orders routes by how specific they are.
func (r route) compare(other route) int {
	return slices.CompareFunc(r, other, func(a, b string) int { return kind(a) - kind(b) })
}

// find returns the most specific HTTP function for a request; nil is a 404, also for a method that
// the route does not list.
func (h *Host) find(method, path string) *function {
	var best *function
	for i, f := range h.functions {
		if f.trigger.Type != "httpTrigger" || !f.route.match(path) {
			continue
		}
		if len(f.trigger.Methods) > 0 && !slices.ContainsFunc(f.trigger.Methods, func(m string) bool { return strings.EqualFold(m, method) }) {
			continue
		}
		if best == nil || f.route.compare(best.route) < 0 {
			best = &h.functions[i]
		}
	}
	return best
}
