package httpapi

import "context"

// Gateway is what a platform in front has said of a request, apart from what
// its sender said.
type Gateway struct {
	BaseURL   string // the service as clients reach it: scheme and authority, no trailing slash
	Caller    string // whom the platform has authenticated; "" = nobody
	RequestID string // the platform's own id of the request, for the log
}

type gatewayKey struct{}

// WithGateway returns a context that tells the handler about the gateway. Only
// an adapter that has it from the platform itself may call this.
func WithGateway(ctx context.Context, g Gateway) context.Context {
	return context.WithValue(ctx, gatewayKey{}, g)
}

// GatewayOf returns what [WithGateway] told, or nothing.
func GatewayOf(ctx context.Context) Gateway {
	g, _ := ctx.Value(gatewayKey{}).(Gateway)
	return g
}
