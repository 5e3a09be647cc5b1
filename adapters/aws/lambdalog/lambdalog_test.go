package lambdalog_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/taskgate/taskgate/adapters/aws/lambdalog"
)

func TestLinesOfAnInvocationNameItAndItsTrace(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(lambdalog.New(slog.NewJSONHandler(&b, nil))).With("a", 1)
	ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{AwsRequestID: "the-id"})
	//lint:ignore SA1029 the key is aws-lambda-go's
	ctx = context.WithValue(ctx, "x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793")
	log.InfoContext(ctx, "request")
	log.Info("start")
	lines := strings.Split(b.String(), "\n")
	if !strings.Contains(lines[0], `"lambda_request_id":"the-id"`) || !strings.Contains(lines[0], `"xray_trace_id":"Root=1-5759e988`) || !strings.Contains(lines[0], `"a":1`) {
		t.Error(lines[0])
	}
	if strings.Contains(lines[1], "xray") {
		t.Error(lines[1])
	}
}
