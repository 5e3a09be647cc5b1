package lambdahttp_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/taskgate/taskgate/adapters/aws/lambdahttp"
	"github.com/taskgate/taskgate/core/httpapi"
)

// FuzzEvent: an event is answered by a 400 of its own, or is a request whose
// method, body and caller are the event's, whatever headers it has.
func FuzzEvent(f *testing.F) {
	for _, seed := range []string{
		`{"version":"2.0","rawPath":"/v1/tasks","rawQueryString":"limit=1","cookies":["a=b"],"headers":{"Host":"evil","x":"y"},"body":"e30=","isBase64Encoded":true,` +
			`"requestContext":{"domainName":"d.example","stage":"$default","requestId":"r","http":{"method":"POST","sourceIp":"127.0.0.1"},"authorizer":{"iam":{"userArn":"arn:aws:sts::1:assumed-role/r/s"}}}}`,
		`{"version":"2.0","rawPath":"/prod/%2f%zz","requestContext":{"domainName":"d","stage":"prod","http":{"method":"GET"},"authorizer":{"jwt":{"claims":{"iss":"i","sub":1}}}}}`,
		`{"version":"1.0"}`, `{}`, `[]`, `{"version":"2.0","rawPath":"/","requestContext":{"domainName":"d","http":{"method":"G T"}},"headers":{"a b":"\n"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		served := false
		h := &lambdahttp.Handler{Log: discard, HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			served = true
			var e struct {
				Body     string `json:"body"`
				IsBase64 bool   `json:"isBase64Encoded"`
				Context  struct {
					DomainName string `json:"domainName"`
					HTTP       struct {
						Method string `json:"method"`
					} `json:"http"`
				} `json:"requestContext"`
			}
			if err := json.Unmarshal(payload, &e); err != nil {
				t.Fatalf("%q was served: %v", payload, err)
			}
			want := []byte(e.Body)
			if e.IsBase64 {
				want, _ = base64.StdEncoding.DecodeString(e.Body)
			}
			body, err := io.ReadAll(r.Body)
			if err != nil || string(body) != string(want) || r.ContentLength != int64(len(want)) || r.Method != e.Context.HTTP.Method ||
				r.Host != e.Context.DomainName || r.Header.Get("Host") != "" || r.URL.Path == "" || r.RequestURI == "" {
				t.Errorf("%q became %+v with %q, %v", payload, r, body, err)
			}
			g := httpapi.GatewayOf(r.Context())
			if !strings.HasPrefix(g.BaseURL, "https://"+e.Context.DomainName) {
				t.Errorf("%q came by %+v", payload, g)
			}
			w.WriteHeader(http.StatusTeapot)
		})}
		out, err := h.Invoke(t.Context(), payload)
		var answer struct {
			StatusCode int `json:"statusCode"`
		}
		if err != nil || json.Unmarshal(out, &answer) != nil || served != (answer.StatusCode == http.StatusTeapot) || !served && answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: served %t, answered %s, %v", payload, served, out, err)
		}
	})
}
