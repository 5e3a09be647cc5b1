package customhandler

import "net/http"

// EasyAuth is the caller whom App Service authentication ("Easy Auth") has
// established: the identity provider's name, a colon, and the principal's id
// there; "" for a request that it let pass without one. The principal's name is
// not used: it can change, and another can have it.
//
// The headers prove something only where that authentication is on: then the
// platform removes those that a client has sent. Anywhere else a client can claim
// to be anybody. A main must check that it is on before it uses this.
// https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities#access-user-claims-in-app-code
func EasyAuth(r *http.Request) string {
	provider, id := one(r, "X-Ms-Client-Principal-Idp"), one(r, "X-Ms-Client-Principal-Id")
	if provider == "" || id == "" {
		return ""
	}
	return provider + ":" + id
}

// one returns the value of a header that is there exactly once, or "".
func one(r *http.Request, name string) string {
	values := r.Header.Values(name)
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// KeyCaller is the name of everybody who has a function key.
const KeyCaller = "function-key"

// FunctionKey is [KeyCaller] for a request with a function key, which the host
// has checked if, and only if, the function's authLevel asks for one. The host
// does not say whose key it was, so all share one caller.
// https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger#http-auth
func FunctionKey(r *http.Request) string {
	if r.Header.Get(keyHeader) == "" && r.URL.Query().Get(keyParameter) == "" {
		return ""
	}
	return KeyCaller
}
