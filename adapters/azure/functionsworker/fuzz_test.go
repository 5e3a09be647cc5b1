package functionsworker_test

import (
	"strings"
	"testing"

	"github.com/taskgate/taskgate/core/worker"
)

// FuzzPayload: an invocation is refused, or delivers one JSON object. The host
// hangs when it is answered by anything else than JSON with Outputs, which
// invoke checks.
func FuzzPayload(f *testing.F) {
	for _, seed := range []string{
		`{"Data":{"m":` + quoted(message) + `},"Metadata":{"ApplicationProperties":{"taskgate":"{}","n":1}}}`,
		`{"Data":{"m":` + quoted(quoted(message)) + `},"Metadata":{"UserProperties":"{\"a\":\"b\"}"}}`,
		`{"Data":{"m":` + message + `}}`, `{"Data":{}}`, `{"Data":{"a":{},"b":{}}}`, `{"Data":{"m":[]}}`, `{}`, ``, `null`,
		`{"Data":{"m":"\"\\\"{}\\\"\""},"Metadata":{"ApplicationProperties":null}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		a := newApp(worker.Outcome{Acknowledge: true})
		code := a.invoke(t.Context(), t, "POST", "/queue", body)
		switch {
		case code == 200 && len(a.delivered) == 1 && strings.HasPrefix(strings.TrimSpace(string(a.delivered[0].Body)), "{"):
		case code >= 400 && len(a.delivered) == 0:
		default:
			t.Errorf("%q: answered %d, delivered %q", body, code, a.delivered)
		}
	})
}
