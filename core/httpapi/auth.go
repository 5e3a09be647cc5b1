package httpapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/taskgate/taskgate/core/task"
)

// The scopes of an API key.
const (
	ScopeEnqueue = "enqueue"
	ScopeRead    = "read"
	ScopeWork    = "work"  // fetch messages of every caller's tasks
	ScopeAdmin   = "admin" // all other scopes, for every caller's tasks
)

// Scopes returns every scope.
func Scopes() []string { return []string{ScopeEnqueue, ScopeRead, ScopeWork, ScopeAdmin} }

// APIKey is one entry of TASKGATE_API_KEYS. Several entries may have the same name,
// so that keys can be rotated.
type APIKey struct {
	Name   string            // the name of the caller
	Scopes []string          // at least one of the Scope constants
	SHA256 [sha256.Size]byte // the hash of the key; the key itself is not kept
}

// String returns the entry in the format of TASKGATE_API_KEYS. It has no secret.
func (k APIKey) String() string {
	return k.Name + ":" + strings.Join(k.Scopes, "+") + ":" + hex.EncodeToString(k.SHA256[:])
}

// Caller is the authenticated sender of a request.
type Caller struct {
	Name   string   // the owner of the tasks that the caller enqueues
	Scopes []string // each is one of the Scope constants
	Proof  Proof
}

// Proof says how a request was authenticated.
type Proof int

const (
	// ByKey means that the request has a secret. A web page cannot add that secret.
	//
	// ByKey is the zero value, so the Caller{} of an unauthenticated request has it
	// too. That is safe: such a request has no rights that a web page could misuse.
	ByKey Proof = iota
	// ByCookie means that the browser may have added the credential by itself, even
	// if a page of another origin made it send the request.
	ByCookie
	// ByAddress means that there was no credential: the request only reached this
	// machine's loopback address. Web pages can make a browser send such requests.
	ByAddress
)

// scopes returns every scope of the caller. The scope admin includes the others.
func (c Caller) scopes() []string {
	if slices.Contains(c.Scopes, ScopeAdmin) {
		return Scopes()
	}
	return c.Scopes
}

// may reports whether the caller has the scope.
func (c Caller) may(scope string) bool { return slices.Contains(c.scopes(), scope) }

// Auth returns the caller of a request. The error's kind is Unauthenticated when the
// credential is missing or not valid.
type Auth func(*http.Request) (Caller, error)

// Keys authenticates requests by an API key in the header "Authorization: Bearer
// <key>". It always compares all keys, in constant time.
func Keys(keys []APIKey) Auth {
	return func(r *http.Request) (Caller, error) {
		scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || key == "" || len(r.Header.Values("Authorization")) > 1 {
			return Caller{}, task.Errorf(task.Unauthenticated, "send one Authorization header with Bearer and an API key")
		}
		sum := sha256.Sum256([]byte(strings.TrimSpace(key)))
		var found *APIKey
		for i := range keys {
			if subtle.ConstantTimeCompare(sum[:], keys[i].SHA256[:]) == 1 {
				found = &keys[i]
			}
		}
		if found == nil {
			return Caller{}, task.Errorf(task.Unauthenticated, "the service does not know this API key")
		}
		return Caller{Name: found.Name, Scopes: found.Scopes}, nil
	}
}

// FromPlatform trusts the caller that the platform in front of the service has
// authenticated. The platform's adapter passes the caller's name by [WithGateway].
func FromPlatform(r *http.Request) (Caller, error) {
	gateway := GatewayOf(r.Context())
	if gateway.Caller == "" {
		return Caller{}, task.Errorf(task.Unauthenticated, "the platform in front of the service has not authenticated a caller")
	}
	c := Caller{Name: gateway.Caller, Scopes: []string{ScopeEnqueue, ScopeRead}}
	if gateway.Cookie {
		c.Proof = ByCookie
	}
	return c, nil
}

// AllowAll accepts every request and gives it all scopes. It is only for a service
// that listens on a loopback address.
func AllowAll(*http.Request) (Caller, error) {
	return Caller{Name: "local", Scopes: []string{ScopeAdmin}, Proof: ByAddress}, nil
}

// Gateway is what the platform in front of the service says about a request. The
// client cannot set these values.
type Gateway struct {
	BaseURL   string // the service's URL for clients: scheme and authority, no trailing slash
	Caller    string // the caller that the platform has authenticated; "" = none
	Cookie    bool   // the platform may have authenticated the caller by a cookie
	RequestID string // the platform's own id of the request, for the log
}

type gatewayKey struct{}

// WithGateway returns a context that passes g to the handler. Only an adapter that
// has these values from the platform itself may call WithGateway.
func WithGateway(ctx context.Context, g Gateway) context.Context {
	return context.WithValue(ctx, gatewayKey{}, g)
}

// GatewayOf returns the Gateway that [WithGateway] passed, or the zero Gateway.
func GatewayOf(ctx context.Context) Gateway {
	g, _ := ctx.Value(gatewayKey{}).(Gateway)
	return g
}

// checkOrigin protects callers whose browser authenticates requests by itself. It
// returns ForeignOrigin if a web page of another origin may have made the browser
// send the request. Links to the dashboard's pages work from any origin, because
// these pages contain no data.
//
// The standard library's CrossOriginProtection accepts every GET. Here a GET can
// return tasks, so only the dashboard's pages are exempt.
func checkOrigin(r *http.Request, proof Proof, baseURL string) error {
	if proof == ByKey {
		return nil
	}
	base, err := url.Parse(baseURL)
	if err != nil {
		base = &url.URL{}
	}
	if proof == ByAddress && !loopbackName(r.Host) && !strings.EqualFold(base.Host, r.Host) {
		// An attacker can make a domain name resolve to this machine (DNS rebinding).
		return task.Errorf(ForeignOrigin, "without authentication the service answers only localhost, loopback addresses and the host of its public URL")
	}
	navigates := r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate"
	if navigates && strings.HasPrefix(r.URL.Path, "/ui/") {
		return nil
	}
	foreign := r.Header.Get("Sec-Fetch-Site") == "cross-site"
	for _, origin := range r.Header.Values("Origin") {
		u, err := url.Parse(origin)
		own := err == nil && u.Host != "" && // "null" has no host
			(strings.EqualFold(u.Host, base.Host) && u.Scheme == base.Scheme || proof == ByAddress && strings.EqualFold(u.Host, r.Host))
		foreign = foreign || !own
	}
	if foreign {
		return task.Errorf(ForeignOrigin, "a page of another origin may not send requests to this service")
	}
	return nil
}

// loopbackName reports whether a Host header names this machine itself:
// localhost, a name below it (RFC 6761, section 6.3), or a loopback address.
func loopbackName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.IsLoopback()
}
