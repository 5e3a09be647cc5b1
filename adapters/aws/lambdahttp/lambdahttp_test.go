package lambdahttp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/taskgate/taskgate/adapters/aws/lambdahttp"
	"github.com/taskgate/taskgate/core/httpapi"
	"github.com/taskgate/taskgate/core/httpapi/doortest"
	"github.com/taskgate/taskgate/tests/emulators/eventsource"
)

var _ lambda.Handler = (*lambdahttp.Handler)(nil)

var discard = slog.New(slog.DiscardHandler)

// invoke calls a handler as the runtime does: with a deadline.
func invoke(h *lambdahttp.Handler) eventsource.Invoke {
	return func(ctx context.Context, payload []byte) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		return h.Invoke(ctx, payload)
	}
}

// door is a handler behind a gateway.
func door(g *eventsource.Gateway, h http.Handler) doortest.Door {
	g.Invoke = invoke(&lambdahttp.Handler{HTTP: h, Log: discard})
	return doortest.Door{
		Send: func(ctx context.Context, r doortest.Request) (doortest.Response, error) {
			req, err := http.NewRequestWithContext(ctx, r.Method, "https://client.example"+r.Target, bytes.NewReader(r.Body))
			if err != nil {
				return doortest.Response{}, err
			}
			req.Header = r.Header
			resp, err := g.RoundTrip(req)
			if err != nil {
				return doortest.Response{}, err
			}
			body, err := io.ReadAll(resp.Body)
			return doortest.Response{Status: resp.StatusCode, Header: resp.Header, Body: body}, err
		},
		Gateway:  func(ctx context.Context) string { return fmt.Sprint(httpapi.GatewayOf(ctx)) },
		Deadline: true,
	}
}

func TestDoorKeepsTheContract(t *testing.T) {
	for name, gateway := range map[string]eventsource.Gateway{
		"HTTP API":        {},
		"HTTP API, stage": {Stage: "prod"},
		"function URL":    {FunctionURL: true, DomainName: "abc.lambda-url.us-east-1.on.aws"},
	} {
		t.Run(name, func(t *testing.T) {
			doortest.Run(t, func(_ *testing.T, h http.Handler) doortest.Door { return door(&gateway, h) })
		})
	}
}

// saw serves one request and returns what the handler saw.
func saw(t *testing.T, h *lambdahttp.Handler, g eventsource.Gateway, target string) (gateway httpapi.Gateway, url string) {
	t.Helper()
	h.Log = discard
	h.HTTP = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		gateway, url = httpapi.GatewayOf(r.Context()), r.URL.String()
	})
	g.Invoke = invoke(h)
	resp, err := g.RoundTrip(httptest.NewRequest("GET", target, nil))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	return gateway, url
}

// TestPrefixIsTakenOffWhereAnAPIPathRemains: stages and mappings may have any name,
// also v1, and an event does not say which of them are in its path.
func TestPrefixIsTakenOffWhereAnAPIPathRemains(t *testing.T) {
	const domain = "https://" + eventsource.DefaultDomain
	for _, c := range []struct {
		stage, base, path   string // the path as the event has it
		wantBase, wantInner string
	}{
		{"$default", "", "/v1/tasks", domain, "/v1/tasks"},
		{"prod", "", "/prod/v1/tasks", domain + "/prod", "/v1/tasks"},
		{"prod", "", "/v1/tasks", domain, "/v1/tasks"}, // a custom domain
		{"prod", "", "/prod/x", domain + "/prod", "/x"},
		{"v1", "", "/v1/v1/tasks", domain + "/v1", "/v1/tasks"},
		{"v1", "", "/v1/tasks", domain, "/v1/tasks"},
		{"v1", "", "/v1/healthz", domain + "/v1", "/healthz"},
		{"v1", "", "/v1/v1", domain + "/v1", "/v1"},
		{"$default", "/jobs", "/jobs/v1/tasks", domain + "/jobs", "/v1/tasks"},
		{"$default", "/jobs", "/v1/tasks", domain, "/v1/tasks"},
		{"$default", "/jobs", "/jobsmore", domain, "/jobsmore"},
		{"$default", "/jobs", "/jobs", domain, "/jobs"},
		{"$default", "/v1", "/v1/v1/tasks", domain + "/v1", "/v1/tasks"},
		{"$default", "/v1", "/v1/tasks/1/events", domain, "/v1/tasks/1/events"},
		{"$default", "/v1", "/v1/openapi.json", domain + "/v1", "/openapi.json"},
		{"$default", "/v1", "/v1/ui/app.js", domain + "/v1", "/ui/app.js"},
		{"v1", "/v1", "/v1/v1/v1/tasks", domain + "/v1/v1", "/v1/tasks"},
		{"prod", "/jobs", "/prod/jobs/readyz", domain + "/prod/jobs", "/readyz"},
		{"prod", "/jobs", "/jobs/prod/v1/tasks", domain + "/jobs/prod", "/v1/tasks"},
		{"prod", "/jobs", "/jobs/v1/tasks", domain + "/jobs", "/v1/tasks"},
	} {
		event := fmt.Sprintf(`{"version":"2.0","rawPath":%q,"requestContext":{"domainName":%q,"stage":%q,"requestId":"r","http":{"method":"GET"}}}`, c.path, eventsource.DefaultDomain, c.stage)
		var gateway httpapi.Gateway
		var inner string
		h := &lambdahttp.Handler{BasePath: c.base, Log: discard, HTTP: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			gateway, inner = httpapi.GatewayOf(r.Context()), r.URL.Path
		})}
		if _, err := h.Invoke(t.Context(), []byte(event)); err != nil || gateway.BaseURL != c.wantBase || inner != c.wantInner || gateway.RequestID != "r" {
			t.Errorf("%s at stage %q, mapped below %q: %s of %s, want %s of %s (%v)", c.path, c.stage, c.base, inner, gateway.BaseURL, c.wantInner, c.wantBase, err)
		}
	}
}

// TestEveryPathOfTheContractIsKnown: a path that is not known keeps its prefix.
func TestEveryPathOfTheContractIsKnown(t *testing.T) {
	var contract struct{ Paths map[string]any }
	if err := json.Unmarshal(httpapi.OpenAPI(), &contract); err != nil || len(contract.Paths) < 5 {
		t.Fatalf("%d paths, %v", len(contract.Paths), err)
	}
	for path := range contract.Paths {
		event := fmt.Sprintf(`{"version":"2.0","rawPath":%q,"requestContext":{"domainName":"d","stage":"prod","http":{"method":"GET"}}}`, "/prod"+path)
		var inner string
		h := &lambdahttp.Handler{Log: discard, HTTP: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { inner = r.URL.Path })}
		if _, err := h.Invoke(t.Context(), []byte(event)); err != nil || inner != path {
			t.Errorf("%s is read as %s, %v", path, inner, err)
		}
	}
}

// TestPathIsReadEscapedOrNot: the documentation does not say which of the two
// an HTTP API gives.
func TestPathIsReadEscapedOrNot(t *testing.T) {
	for raw, want := range map[string]string{"/a%20b": "/a b", "/a b": "/a b", "/100%": "/100%", "/é": "/é", "/%C3%A9": "/é"} {
		event := fmt.Sprintf(`{"version":"2.0","rawPath":%q,"requestContext":{"domainName":"d","http":{"method":"GET"}}}`, raw)
		var got string
		h := &lambdahttp.Handler{Log: discard, HTTP: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.URL.Path })}
		if _, err := h.Invoke(t.Context(), []byte(event)); err != nil || got != want {
			t.Errorf("%s is read as %s, %v", raw, got, err)
		}
	}
}

func TestCallerIsWhomThePlatformAuthenticated(t *testing.T) {
	type m = map[string]any
	for _, c := range []struct {
		authorizer m
		want       string
	}{
		{nil, ""},
		{m{}, ""},
		{m{"jwt": m{"claims": m{"iss": "https://issuer.example/", "sub": "alice", "exp": "1"}, "scopes": nil}}, "https://issuer.example/#alice"},
		{m{"jwt": m{"claims": m{"iss": "https://issuer.example/", "sub": "alice", "groups": []string{"a"}, "n": 1}}}, "https://issuer.example/#alice"},
		{m{"jwt": m{"claims": m{"iss": "https://issuer.example/"}}}, ""},
		{m{"jwt": m{"claims": m{"sub": "alice"}}}, ""},
		{m{"jwt": m{"claims": m{"iss": "i", "sub": 7}}}, ""},
		{m{"iam": m{"userArn": "arn:aws:iam::123456789012:user/team/alice", "userId": "AIDA"}}, "arn:aws:iam::123456789012:user/team/alice"},
		{m{"iam": m{"userArn": "arn:aws:sts::123456789012:assumed-role/shop/i-0123"}}, "arn:aws:sts::123456789012:assumed-role/shop"},
		{m{"iam": m{"userArn": "arn:aws:sts::123456789012:assumed-role/shop/i-0456"}}, "arn:aws:sts::123456789012:assumed-role/shop"},
		{m{"lambda": m{"principalId": "alice", "roles": []string{"x"}}}, "alice"},
		{m{"lambda": m{"user": "alice"}}, ""},
		{m{"lambda": nil}, ""},
	} {
		gateway, _ := saw(t, &lambdahttp.Handler{}, eventsource.Gateway{Authorizer: c.authorizer}, "/")
		if gateway.Caller != c.want {
			t.Errorf("%v is %q, want %q", c.authorizer, gateway.Caller, c.want)
		}
	}
}

func TestMalformedEventIsA400AndNoFunctionError(t *testing.T) {
	h := &lambdahttp.Handler{Log: discard, HTTP: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("served") })}
	for _, event := range []string{
		"", "{", "null", "[]", "7", `"text"`, "{}",
		`{"version":"1.0","path":"/","httpMethod":"GET"}`,
		`{"version":"2.0","rawPath":"","requestContext":{"domainName":"d","http":{"method":"GET"}}}`,
		`{"version":"2.0","rawPath":"/","requestContext":{"domainName":"d","http":{}}}`,
		`{"version":"2.0","rawPath":"/","requestContext":{"http":{"method":"GET"}}}`,
		`{"version":"2.0","rawPath":"/","requestContext":{"domainName":"d","http":{"method":"POST"}},"body":"?","isBase64Encoded":true}`,
		`{"version":"2.0","rawPath":"/","requestContext":{"domainName":"d","http":{"method":"POST"}},"headers":[]}`,
		`{"Records":[{"eventSource":"aws:sqs","body":"{}"}]}`,
	} {
		payload, err := h.Invoke(t.Context(), []byte(event))
		var r struct {
			StatusCode int
			Headers    map[string]string
			Body       string
		}
		if err != nil || json.Unmarshal(payload, &r) != nil || r.StatusCode != 400 || r.Headers["Content-Type"] != "application/problem+json" || !json.Valid([]byte(r.Body)) {
			t.Errorf("%s: %s, %v", event, payload, err)
		}
	}
}

func TestDeadlineLeavesTimeToAnswer(t *testing.T) {
	for given, want := range map[time.Duration][2]time.Duration{
		30 * time.Second: {27 * time.Second, 27500 * time.Millisecond},
		4 * time.Second:  {2500 * time.Millisecond, 3 * time.Second},
	} {
		var left time.Duration
		h := &lambdahttp.Handler{Log: discard, HTTP: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			deadline, _ := r.Context().Deadline()
			left = time.Until(deadline)
		})}
		ctx, cancel := context.WithTimeout(t.Context(), given)
		_, err := h.Invoke(ctx, []byte(`{"version":"2.0","rawPath":"/","requestContext":{"domainName":"d","http":{"method":"GET"}}}`))
		cancel()
		if err != nil || left < want[0] || left > want[1] {
			t.Errorf("of %v the handler had %v", given, left)
		}
	}
}

func TestResponseUsesBase64WhenEscapingWouldExceedTheLimit(t *testing.T) {
	send := func(body string) *http.Response {
		g := &eventsource.Gateway{Invoke: invoke(&lambdahttp.Handler{Log: discard, HTTP: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, body)
		})})}
		resp, err := g.RoundTrip(httptest.NewRequest("GET", "/v1/tasks", nil))
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	quotes := strings.Repeat(`"",`, 4<<20/3) // as text, 5/3 of its length
	resp := send(quotes)
	if got, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(got) != quotes {
		t.Errorf("4 MiB of quotes came back as %d with %d bytes", resp.StatusCode, len(got))
	}
	resp = send(strings.Repeat("x", 7<<20))
	var p httpapi.Problem
	err := json.NewDecoder(resp.Body).Decode(&p)
	if err != nil || resp.StatusCode != 503 || p.Status != 503 || !strings.Contains(p.Detail, "limit") || resp.Header.Get("Retry-After") != "" {
		t.Errorf("7 MiB came back as %d %+v, %v", resp.StatusCode, p, err)
	}
}
