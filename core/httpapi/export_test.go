package httpapi

import "github.com/taskgate/taskgate/core/task"

// StatusOf returns the HTTP status of each kind of error.
func StatusOf() map[task.Kind]int {
	statuses := map[task.Kind]int{}
	for kind, m := range meanings {
		statuses[kind] = m.status
	}
	return statuses
}
