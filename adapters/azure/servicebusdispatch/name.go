package servicebusdispatch

import (
	"regexp"
	"strings"
	"unicode/utf16"
)

// maxName and maxSession count characters as Service Bus does: in UTF-16 code units.
// https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftservicebus
// https://learn.microsoft.com/dotnet/api/azure.messaging.servicebus.servicebusmessage.sessionid
const (
	maxName    = 260
	maxSession = 128
)

var nameForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._~/-]*[A-Za-z0-9])?$`)

// CheckQueueName returns the rule that the name of a queue or topic breaks, or
// "". The addresses of other things are refused too: $cbs and $management, a
// dead-letter subqueue (name/$deadletterqueue) and a subscription
// (name/Subscriptions/name).
func CheckQueueName(name string) string {
	switch {
	case len(name) > maxName:
		return "must be at most 260 characters"
	case !nameForm.MatchString(name):
		return "must begin and end with a letter or digit, and have only ASCII letters, digits and any of . _ - ~ / between"
	case strings.Contains(name, "//"):
		return "must not have an empty part between slashes"
	case strings.Contains(strings.ToLower(name), "/subscriptions/"):
		return "must not be the address of a subscription"
	}
	return ""
}

// checkGroup returns the rule that a group breaks as a message's session id, or "".
func checkGroup(group string) string {
	units := 0
	for _, r := range group {
		units += utf16.RuneLen(r)
	}
	if units > maxSession {
		return "must be at most 128 characters, of which those beyond U+FFFF count twice"
	}
	return ""
}
