package functionsworker

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// DefaultTimeout is the functionTimeout of an app whose host.json has none, on
// every plan but Consumption, where it is ConsumptionTimeout.
// https://learn.microsoft.com/azure/azure-functions/functions-scale#timeout
const (
	DefaultTimeout     = 30 * time.Minute
	ConsumptionTimeout = 5 * time.Minute
)

// Timeout returns how long the host lets an invocation run before it kills this
// process: functionTimeout in the app's host.json, or override, the value of the
// app setting AzureFunctionsJobHost__functionTimeout, or else fallback. 0 = the
// host never does.
// https://learn.microsoft.com/azure/azure-functions/functions-host-json#functiontimeout
func Timeout(hostJSON []byte, override string, fallback time.Duration) (time.Duration, error) {
	var host struct{ FunctionTimeout *string }
	if err := json.Unmarshal(hostJSON, &host); err != nil { // like the host, it ignores the case of names
		return 0, fmt.Errorf("host.json: %w", err)
	}
	switch {
	case override != "":
		return parseTimeSpan(override)
	case host.FunctionTimeout != nil:
		return parseTimeSpan(*host.FunctionTimeout)
	}
	return fallback, nil
}

var timeSpan = regexp.MustCompile(`^(?:(\d{1,3})\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2}))?$`)

// parseTimeSpan reads [days.]hours:minutes[:seconds], or -1 for no bound.
// https://learn.microsoft.com/dotnet/standard/base-types/standard-timespan-format-strings
func parseTimeSpan(s string) (time.Duration, error) {
	if s == "-1" {
		return 0, nil
	}
	parts := timeSpan.FindStringSubmatch(s)
	if parts == nil {
		return 0, fmt.Errorf("functionTimeout is %q, and must be hh:mm:ss or -1", s)
	}
	var d time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		n, _ := strconv.Atoi(parts[i+1]) // "" = 0
		d += time.Duration(n) * unit
	}
	if d <= 0 {
		return 0, fmt.Errorf("functionTimeout is %q, and must be more than nothing", s)
	}
	return d, nil
}
