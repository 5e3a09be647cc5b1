package settings

import (
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// prefix is what every variable of taskgate's begins with; a variable that does
// and that nobody reads is a mistake.
const prefix = "TASKGATE_"

// Env reads settings from an environment and collects what is wrong with them.
// An empty variable counts as not set. A getter that finds a mistake notes it
// and returns the default, so that a main reads on. Not for concurrent use.
type Env struct {
	vars map[string]string
	read map[string]bool
	errs Errors
}

// NewEnv returns a reader of an environment in [os.Environ]'s form; of two
// values for one name the last counts.
func NewEnv(environ []string) *Env {
	e := &Env{vars: map[string]string{}, read: map[string]bool{}}
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			e.vars[name] = value
		}
	}
	return e
}

// Err returns, as [Errors], everything that the getters found, and every
// TASKGATE_ variable that none of them asked for; nil when all is well.
func (e *Env) Err() error {
	errs := slices.Clone(e.errs)
	var known []string
	for name := range e.read {
		if rest, ours := strings.CutPrefix(name, prefix); ours {
			known = append(known, rest) // without what all have in common, the rest must be near
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.vars)) {
		rest, ours := strings.CutPrefix(name, prefix)
		if !ours || e.read[name] {
			continue
		}
		hint := ""
		if best := nearest(rest, known); best != "" {
			hint = suggest(prefix + best)
		}
		errs.addf("unknown variable %s%s", name, hint)
	}
	return errs.err()
}

// Failf notes a mistake that only the caller can see: how settings fit together.
func (e *Env) Failf(format string, args ...any) { e.errs.addf(format, args...) }

// String returns the variable, or fallback when it is not set.
func (e *Env) String(name, fallback string) string {
	e.read[name] = true
	if v := e.vars[name]; v != "" {
		return v
	}
	return fallback
}

// Required returns a variable that must be set.
func (e *Env) Required(name string) string {
	v := e.String(name, "")
	if v == "" {
		e.Failf("%s is required", name)
	}
	return v
}

// Secret returns the variable, or "".
func (e *Env) Secret(name string) Secret { return Secret(e.String(name, "")) }

// Choice returns one of the given values, the first when the variable is not set.
func (e *Env) Choice(name string, values ...string) string {
	v := e.String(name, values[0])
	if !slices.Contains(values, v) {
		e.Failf("%s is %q, and must be %s", name, v, oneOf(values))
		return values[0]
	}
	return v
}

// Int returns a whole number from least to most.
func (e *Env) Int(name string, fallback, least, most int) int {
	v := e.String(name, "")
	if v == "" {
		return fallback
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		e.Failf("%s is %q, and must be a whole number from %d to %d", name, v, least, most)
		return fallback
	}
	return n
}

// Duration returns a Go duration from least to most; most 0 = no upper bound.
func (e *Env) Duration(name string, fallback, least, most time.Duration) time.Duration {
	v := e.String(name, "")
	if v == "" {
		return fallback
	}
	d, err := time.ParseDuration(v)
	switch {
	case err != nil:
		e.Failf("%s is %q, and must be a duration with a unit, such as 20s or 168h", name, v)
	case most == 0 && d < least:
		e.Failf("%s is %q, and must be at least %v", name, v, least)
	case most != 0 && (d < least || d > most):
		e.Failf("%s is %q, and must be from %v to %v", name, v, least, most)
	default:
		return d
	}
	return fallback
}

// URL returns an absolute http or https URL without query, fragment, user or
// trailing slash, or "" when the variable is not set. It may have a path.
func (e *Env) URL(name string) string {
	v := e.String(name, "")
	if v == "" {
		return ""
	}
	if !isBaseURL(v) {
		e.Failf("%s must be an absolute http or https URL without user, query and fragment", name)
		return ""
	}
	return strings.TrimRight(v, "/")
}

// RequiredURL returns what URL does, of a variable that must be set.
func (e *Env) RequiredURL(name string) string {
	if e.Required(name) == "" {
		return ""
	}
	return e.URL(name)
}

// isBaseURL reports whether paths can be appended to s. It looks at the text
// too, for an empty query or fragment leaves no trace in the parsed URL.
func isBaseURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" &&
		u.User == nil && !strings.ContainsAny(s, "?# ")
}

// Address returns a host:port to listen on; the host may be empty, for all
// interfaces, and the port 0, for any that is free.
func (e *Env) Address(name, fallback string) string {
	v := e.String(name, fallback)
	_, port, err := net.SplitHostPort(v)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		e.Failf("%s is %q, and must be host:port", name, v)
		return fallback
	}
	return v
}

// Loopback reports whether listening on a host:port is for this machine alone.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// Loader returns the name of a credential loader: "default" when the variable
// is not set, another built-in one, or one of the main's own.
func (e *Env) Loader(name string, own []string) string {
	v := e.String(name, defaultLoader)
	if rule := checkLoader(v, own); rule != "" {
		e.Failf("%s %s", name, rule)
		return defaultLoader
	}
	return v
}

// oneOf lists values for a sentence: "a, b or c".
func oneOf(values []string) string {
	last := len(values) - 1
	if last <= 0 {
		return strings.Join(values, "")
	}
	return strings.Join(values[:last], ", ") + " or " + values[last]
}
