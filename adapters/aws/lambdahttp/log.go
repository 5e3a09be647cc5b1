package lambdahttp

import (
	"context"
	"log/slog"

	"github.com/aws/aws-lambda-go/lambdacontext"
)

// traceKey is where aws-lambda-go keeps the X-Ray tracing header of an
// invocation; it has no name for it.
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html#runtimes-api-next
const traceKey = "x-amzn-trace-id"

// LogHandler adds to every line of an invocation what finds it again in
// CloudWatch and X-Ray: lambda_request_id and xray_trace_id. They are for the
// log alone: tasks carry the W3C trace context of their own request.
func LogHandler(to slog.Handler) slog.Handler { return logHandler{to} }

type logHandler struct{ slog.Handler }

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	if invocation, ok := lambdacontext.FromContext(ctx); ok {
		r.AddAttrs(slog.String("lambda_request_id", invocation.AwsRequestID))
	}
	if trace, ok := ctx.Value(traceKey).(string); ok && trace != "" {
		r.AddAttrs(slog.String("xray_trace_id", trace))
	}
	return h.Handler.Handle(ctx, r)
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs)}
}

func (h logHandler) WithGroup(name string) slog.Handler { return logHandler{h.Handler.WithGroup(name)} }
