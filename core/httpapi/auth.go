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
	ScopeWork    = "work"  // fetches messages, whoever owns their tasks
	ScopeAdmin   = "admin" // every other scope, for every caller's tasks
)

// Scopes returns every scope.
func Scopes() []string { return []string{ScopeEnqueue, ScopeRead, ScopeWork, ScopeAdmin} }

// APIKey is one entry of TASKGATE_API_KEYS. A name may have several, so that
// keys can be rotated.
type APIKey struct {
	Name   string            // the caller's
	Scopes []string          // at least one of the Scope constants
	SHA256 [sha256.Size]byte // of the key; the key itself is not kept
}

// String returns the entry as TASKGATE_API_KEYS has it. It holds no secret.
func (k APIKey) String() string {
	return k.Name + ":" + strings.Join(k.Scopes, "+") + ":" + hex.EncodeToString(k.SHA256[:])
}

// Caller is who sent a request.
type Caller struct {
	Name   string   // the owner of the tasks that it enqueues
	Scopes []string // of the Scope constants
	Proof  Proof
}

// Proof is what shows that a request comes from its caller.
type Proof int

const (
	// ByKey: the request carries a secret, which no web page can add.
	ByKey Proof = iota
	// ByCookie: a browser may have added the proof by itself, whatever page
	// made it send the request.
	ByCookie
	// ByAddress: nothing but that the request reached this machine's loopback
	// address, where web pages can send requests, too.
	ByAddress
)

// scopes returns every scope that the caller has; admin implies the others.
func (c Caller) scopes() []string {
	if slices.Contains(c.Scopes, ScopeAdmin) {
		return Scopes()
	}
	return c.Scopes
}

// may reports whether the caller has the scope.
func (c Caller) may(scope string) bool { return slices.Contains(c.scopes(), scope) }

// Auth says who sent a request: Unauthenticated when nobody can tell.
type Auth func(*http.Request) (Caller, error)

// Keys authenticates by API key, as "Authorization: Bearer <key>". Several keys
// may have one name, so that they can be rotated. Every key is compared, in
// constant time.
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

// FromPlatform trusts the platform in front of the service: its adapter names
// the caller with [WithGateway].
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

// Open lets everybody do everything. It is for a service that listens on
// loopback only.
func AllowAll(*http.Request) (Caller, error) {
	return Caller{Name: "local", Scopes: []string{ScopeAdmin}, Proof: ByAddress}, nil
}

// Gateway is what the platform in front of the service says about a request,
// as opposed to what its sender says.
type Gateway struct {
	BaseURL   string // the service as clients reach it: scheme and authority, no trailing slash
	Caller    string // the caller that the platform has authenticated; "" = none
	Cookie    bool   // the platform may have authenticated the caller by a cookie
	RequestID string // the platform's own id of the request, for the log
}

type gatewayKey struct{}

// WithGateway returns a context that tells the handler about the gateway. Only
// an adapter that has the facts from the platform itself may call this.
func WithGateway(ctx context.Context, g Gateway) context.Context {
	return context.WithValue(ctx, gatewayKey{}, g)
}

// GatewayOf returns what [WithGateway] told, or the zero Gateway.
func GatewayOf(ctx context.Context) Gateway {
	g, _ := ctx.Value(gatewayKey{}).(Gateway)
	return g
}

// checkOrigin refuses a request that a web page of another origin may have made
// a browser send, with the caller's own proof: ForeignOrigin. A page of the
// dashboard may be opened from anywhere, because it holds no data.
//
// The standard library's CrossOriginProtection lets every GET pass. Here a GET
// shows tasks, so only the dashboard's pages are exempt.
func checkOrigin(r *http.Request, proof Proof, baseURL string) error {
	if proof == ByKey {
		return nil
	}
	var own []string // hosts, with their ports
	if base, err := url.Parse(baseURL); err == nil {
		own = append(own, base.Host)
	}
	if proof == ByAddress && !loopbackName(r.Host) && !slices.Contains(own, r.Host) {
		// A name that its owner has pointed at this machine (DNS rebinding).
		return task.Errorf(ForeignOrigin, "without authentication the service answers only localhost, loopback addresses and the host of its public URL")
	}
	own = append(own, r.Host)
	navigates := r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate"
	if navigates && strings.HasPrefix(r.URL.Path, "/ui/") {
		return nil
	}
	foreign := r.Header.Get("Sec-Fetch-Site") == "cross-site"
	for _, origin := range r.Header.Values("Origin") {
		u, err := url.Parse(origin)
		foreign = foreign || err != nil || !slices.Contains(own, u.Host)
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
