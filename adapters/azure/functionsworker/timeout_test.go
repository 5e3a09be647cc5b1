package functionsworker_test

import (
	"testing"
	"time"

	"github.com/taskgate/taskgate/adapters/azure/functionsworker"
)

func TestTimeout(t *testing.T) {
	const fallback = 5 * time.Minute
	for _, c := range []struct {
		hostJSON, override string
		want               time.Duration
	}{
		{`{"version":"2.0"}`, "", fallback},
		{`{"functionTimeout":null}`, "", fallback},
		{`{"functionTimeout":"00:30:00"}`, "", 30 * time.Minute},
		{`{"FunctionTimeout":"1.02:03:04"}`, "", 26*time.Hour + 3*time.Minute + 4*time.Second},
		{`{"functionTimeout":"0:10"}`, "", 10 * time.Minute},
		{`{"functionTimeout":"-1"}`, "", 0},
		{`{"functionTimeout":"00:30:00"}`, "00:01:00", time.Minute},
		{`{}`, "-1", 0},
	} {
		got, err := functionsworker.Timeout([]byte(c.hostJSON), c.override, fallback)
		if err != nil || got != c.want {
			t.Errorf("%s %q: %v, %v, want %v", c.hostJSON, c.override, got, err, c.want)
		}
	}
	for hostJSON, override := range map[string]string{
		``: "", `nope`: "", `{"functionTimeout":30}`: "", `{"functionTimeout":"30m"}`: "", `{"functionTimeout":"00:00:00"}`: "", `{}`: "soon",
	} {
		if got, err := functionsworker.Timeout([]byte(hostJSON), override, fallback); err == nil {
			t.Errorf("%s %q: %v, want an error", hostJSON, override, got)
		}
	}
}
