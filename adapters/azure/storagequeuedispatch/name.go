package storagequeuedispatch

import "regexp"

var nameForm = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// CheckQueueName returns the rule that a queue's name breaks, or "".
// https://learn.microsoft.com/rest/api/storageservices/naming-queues-and-metadata
func CheckQueueName(name string) string {
	switch {
	case len(name) < 3 || len(name) > 63:
		return "must be 3 to 63 characters"
	case !nameForm.MatchString(name):
		return "must be lower-case letters and digits, with single hyphens between them"
	}
	return ""
}
