package settings

import (
	"maps"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// prefix begins the name of every variable of taskgate. A variable with this
// prefix that no program reads is a mistake.
const prefix = "TASKGATE_"

// variables returns the variables that the programs of this repository read,
// without their prefix. All programs may share one environment, so a variable
// of another program is no mistake.
func variables() []string {
	return strings.Fields("ADDR ADMINS API_KEYS AUTH COSMOS_CONNECTION_STRING COSMOS_CONTAINER COSMOS_CREDENTIAL_LOADER " +
		"COSMOS_DATABASE COSMOS_ENDPOINT DATA DEAD_LETTER_QUEUE_ARNS EVENTS_BASE MAX_WAIT PLATFORM_AUTH PUBLIC_URL " +
		"RESULT_TTL TABLE TASKS TASKS_FILE TOKEN_SECRETS WORKER_CONCURRENCY WORKER_URL")
}

// fromKubernetes reports whether Kubernetes sets the variable in every pod next
// to a Service that is named taskgate, or taskgate and a suffix.
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
func fromKubernetes(name, value string) bool {
	service := regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
	address := regexp.MustCompile(`^(tcp|udp|sctp)://`) // TASKGATE_PORT=8080 is somebody's mistake
	return service.MatchString(name) || strings.HasSuffix(name, "_PORT") && address.MatchString(value)
}

// Env reads settings from an environment and collects their mistakes. An empty
// variable counts as not set. A getter that finds a mistake notes it and
// returns, so that the main reads on. Not for concurrent use.
type Env struct {
	vars map[string]string
	read map[string]bool
	errs Errors
}

// NewEnv returns a reader of an environment in the form of [os.Environ]. If a
// name has two values, the last one counts.
func NewEnv(environ []string) *Env {
	e := &Env{vars: map[string]string{}, read: map[string]bool{}}
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			e.vars[name] = value
		}
	}
	return e
}

// Err returns, as [Errors], the mistakes that the getters found, and every
// TASKGATE_ variable that no program reads. It returns nil when all is well.
func (e *Env) Err() error {
	errs := slices.Clone(e.errs)
	for _, name := range slices.Sorted(maps.Keys(e.vars)) {
		rest, ours := strings.CutPrefix(name, prefix)
		if ours && !e.read[name] && !slices.Contains(variables(), rest) && !fromKubernetes(name, e.vars[name]) {
			errs.addf("%s is an unknown setting%s", name, didYouMean(name, slices.Collect(maps.Keys(e.read))))
		}
	}
	return errs.err()
}

// Failf notes a mistake that only the caller can see, for example how settings
// fit together.
func (e *Env) Failf(format string, args ...any) { e.errs.addf(format, args...) }

// list returns a variable that holds entries, and reports whether they can be
// read. White space around an entry, such as the newline at the end of a file,
// is not part of it.
func (e *Env) list(name string) (value string, ok bool) {
	e.read[name] = true
	rule := checkFilledIn(e.vars[name])
	if rule != "" {
		e.Failf("%s %s", name, rule)
	}
	return e.vars[name], rule == ""
}

// lookup returns the variable, and reports whether its text can be a value of
// any setting.
func (e *Env) lookup(name string) (value string, ok bool) {
	e.read[name] = true
	value = e.vars[name]
	rule := checkFilledIn(value)
	if rule == "" && (strings.TrimSpace(value) != value || hasControl(value)) {
		rule = "must not have white space at its ends, line breaks or other control characters"
	}
	if rule != "" {
		e.Failf("%s %s", name, rule)
	}
	return value, rule == ""
}

// String returns the variable, or fallback when it is not set.
func (e *Env) String(name, fallback string) string {
	if v, _ := e.lookup(name); v != "" {
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
	v, ok := e.lookup(name)
	switch {
	case !ok || v == "":
	case slices.Contains(values, v):
		return v
	default:
		e.Failf("%s is %q, but must be %s", name, v, oneOf(values))
	}
	return values[0]
}

// Int returns a whole number from low to high, written in ASCII digits without
// a plus sign or leading zeros.
func (e *Env) Int(name string, fallback, low, high int) int {
	v, ok := e.lookup(name)
	if !ok || v == "" {
		return fallback
	}
	n, err := strconv.Atoi(v)
	if err != nil || strconv.Itoa(n) != v || n < low || n > high {
		e.Failf("%s is %q, but must be a whole number from %d to %d", name, v, low, high)
		return fallback
	}
	return n
}

// Duration returns a Go duration from low to high. It must begin with a digit
// and end with a unit.
func (e *Env) Duration(name string, fallback, low, high time.Duration) time.Duration {
	v, ok := e.lookup(name)
	if !ok || v == "" {
		return fallback
	}
	isDigit := func(c byte) bool { return '0' <= c && c <= '9' }
	d, err := time.ParseDuration(v)
	switch {
	case err != nil || !isDigit(v[0]) || isDigit(v[len(v)-1]):
		e.Failf("%s is %q, but must be a duration such as 20s, 90m or 168h; the longest unit is h", name, v)
	case d < low || d > high:
		e.Failf("%s is %q, but must be from %v to %v", name, v, low, high)
	default:
		return d
	}
	return fallback
}

// URL returns an absolute http or https URL without user, query, fragment and
// trailing slash, or "" when the variable is not set. It may have a path.
func (e *Env) URL(name string) string {
	v, ok := e.lookup(name)
	if !ok || v == "" {
		return ""
	}
	if rule := checkBaseURL(v); rule != "" {
		e.Failf("%s %s", name, rule)
		return ""
	}
	return strings.TrimRight(v, "/")
}

// RequiredURL is URL for a variable that must be set.
func (e *Env) RequiredURL(name string) string {
	if e.Required(name) == "" {
		return ""
	}
	return e.URL(name)
}

// checkBaseURL returns the rule that s breaks if paths cannot be appended to
// it, or "". It looks at the text, too: an empty query or fragment leaves no
// trace in the parsed URL.
func checkBaseURL(s string) (rule string) {
	const form = "must be a URL such as https://tasks.example.com, without user, query and fragment"
	u, err := url.Parse(s)
	if err != nil || !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://") || u.User != nil || strings.ContainsAny(s, `?#\"<> `) {
		return form
	}
	if _, err := netip.ParseAddr(u.Hostname()); err != nil && !isHost(u.Hostname()) {
		return form
	}
	if _, port, found := strings.Cut(u.Host[strings.LastIndexByte(u.Host, ']')+1:], ":"); found && !isPort(port, 1) {
		return form
	}
	return ""
}

// isHost reports whether s is a host's name without scheme, port and path.
func isHost(s string) bool {
	return s != "" && !strings.Contains(s, "..") && strings.Trim(s, ".") == s &&
		only(s, letters+digits+".-_")
}

func isPort(s string, low int) bool {
	n, err := strconv.Atoi(s)
	return err == nil && strconv.Itoa(n) == s && n >= low && n <= 65535
}

// Address returns a host:port to listen on. An empty host means all
// interfaces, and port 0 any free port.
func (e *Env) Address(name, fallback string) string {
	v, ok := e.lookup(name)
	if !ok || v == "" {
		return fallback
	}
	if _, port, err := net.SplitHostPort(v); err != nil || !isPort(port, 0) {
		e.Failf("%s is %q, but must be host:port, such as 127.0.0.1:8080", name, v)
		return fallback
	}
	return v
}

// Loopback reports whether only this machine reaches a listener on a host:port.
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
	v, ok := e.lookup(name)
	if !ok || v == "" {
		return defaultLoader
	}
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
